"""Reruns, time limits, parameters and the notebook of a running run, through HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import nbformat
import pytest

from tests.support.api import Api
from tests.support.runs import address, status, terminal_events, until


def printed(results: dict[str, Any]) -> list[str]:
    return [output["content"] for output in results["outputs"] if output["outputType"] == "stream"]


async def executed_notebook(api: Api, execution: dict[str, Any]) -> nbformat.NotebookNode:
    """The run's notebook so far, valid and with one string for each text."""
    code, body, headers = await api.get(f"{address(execution)}/notebook")
    assert (code, headers["Content-Type"]) == (200, "application/x-ipynb+json")
    text = body if isinstance(body, bytes) else json.dumps(body)
    notebook: nbformat.NotebookNode = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    return notebook


async def rerun(api: Api, execution: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Repeat a run and wait for its end."""
    code, started, headers = await api.post(f"{address(execution)}/rerun", json=body)
    assert code == 202, started
    assert headers["Location"].endswith(started["executionId"])
    assert started["rerunOf"] == execution["executionId"] != started["executionId"]
    return await api.wait(started["notebookId"], started["executionId"])


async def test_a_rerun_keeps_version_parameters_and_options(tenant: Api) -> None:
    notebook = await tenant.create("print('first version', x, y)")
    body = {"parameters": {"x": 1, "y": 2}, "timeout": 77, "priority": "High"}
    before = await tenant.run(notebook["notebookId"], body)
    cell = f"notebook/{notebook['notebookId']}/cells/{notebook['cells'][0]['cellId']}"
    assert (await tenant.put(cell, json={"content": "print('second version')"}))[0] == 200

    again = await rerun(tenant, before)
    assert (again["status"], again["notebookVersion"]) == ("Completed", before["notebookVersion"])
    assert (again["parameters"], again["timeout"], again["priority"]) == ({"x": 1, "y": 2}, 77, "High")
    assert printed(await tenant.results(again)) == ["first version 1 2\n"]

    changed = await rerun(tenant, again, {"parameters": {"y": 3}, "timeout": 78, "priority": None})
    assert (changed["parameters"], changed["timeout"], changed["priority"]) == ({"x": 1, "y": 3}, 78, "High")
    assert printed(await tenant.results(changed)) == ["first version 1 3\n"]
    assert await terminal_events(tenant, changed) == ["execution.completed"]


async def test_a_rerun_reads_the_same_dataset_unless_told_otherwise(tenant: Api, simulated_log: Path) -> None:
    first = await tenant.upload_dataset(simulated_log, "first")
    second = await tenant.upload_dataset(simulated_log, "second")
    source = (
        "import json, os\nrun = json.load(open(os.environ['ATELIER_RUN_DIR'] + '/run.json'))\n"
        "print(run['dataset']['datasetName'])"
    )
    notebook = await tenant.create(source, integration={"datasetBinding": first["datasetId"]})
    before = await tenant.run(notebook["notebookId"])
    binding = {"integration": {"datasetBinding": second["datasetId"]}}
    assert (await tenant.put(f"notebook/{notebook['notebookId']}", json=binding))[0] == 200
    again = await rerun(tenant, before)
    assert printed(await tenant.results(again)) == ["first\n"]
    other = await rerun(tenant, before, {"parameters": {"dataset_id": second["datasetId"]}})
    assert printed(await tenant.results(other)) == ["second\n"]
    code, problem, _ = await tenant.post(
        f"{address(before)}/rerun", json={"parameters": {"dataset_id": str(uuid4())}, "fromCell": "nowhere"}
    )
    assert code == 400
    assert {fault["path"] for fault in problem["errors"]} == {"parameters.dataset_id", "fromCell"}
    assert (await tenant.delete(f"dataset/{first['datasetId']}", params={"force": "true"}))[0] == 204
    code, problem, _ = await tenant.post(f"{address(before)}/rerun")
    assert (code, "has been deleted" in problem["detail"]) == (409, True)


async def test_from_cell_replays_what_comes_before_without_counting_it(tenant: Api) -> None:
    notebook = await tenant.create(
        "md:# Title",
        "x = 1\nprint('one')",
        "from mindzie_sdk import ProcessMiningClient\nclient = ProcessMiningClient()\nclient.save_value('early', x)",
        "x += by\nprint('three', x)",
        "print('four', x)",
    )
    cells = [cell["cellId"] for cell in notebook["cells"]]
    before = await tenant.run(notebook["notebookId"], {"parameters": {"by": 10}})
    assert before["status"] == "Completed", before["errorMessage"]
    again = await rerun(tenant, before, {"fromCell": cells[3], "parameters": {"by": 20}})
    assert again["status"] == "Completed", again["errorMessage"]
    assert again["fromCell"] == cells[3]
    assert [cell["cellId"] for cell in again["cellResults"]] == cells[3:]
    assert (again["progress"]["totalCells"], again["progress"]["percentComplete"]) == (2, 100)
    assert any("3 cells before" in warning for warning in again["warnings"])
    results = await tenant.results(again)
    assert printed(results) == ["three 21\n", "four 21\n"]
    assert all(output["title"] != "early" for output in results["outputs"])
    executed = await executed_notebook(tenant, again)
    by_id = {cell.id: cell for cell in executed.cells}
    assert by_id[cells[1]].outputs[0].text == "one\n"
    # A rerun of a rerun begins at the beginning again, unless it says otherwise.
    whole = await rerun(tenant, again)
    assert len(whole["cellResults"]) == 5


async def test_from_cell_stays_within_the_range_and_a_failing_replay_is_blamed(tenant: Api) -> None:
    notebook = await tenant.create("print(0)", "if by > 1: 1 / 0", "print(2)", "print(3)")
    cells = [cell["cellId"] for cell in notebook["cells"]]
    body = {
        "executionMode": "range",
        "cellRange": {"startCell": cells[1], "endCell": cells[2]},
        "parameters": {"by": 1},
    }
    before = await tenant.run(notebook["notebookId"], body)
    assert before["status"] == "Completed", before["errorMessage"]
    again = await rerun(tenant, before, {"fromCell": cells[2]})
    assert [cell["cellId"] for cell in again["cellResults"]] == [cells[2]]
    code, problem, _ = await tenant.post(f"{address(before)}/rerun", json={"fromCell": cells[3]})
    assert (code, problem["errors"][0]["path"]) == (400, "fromCell")
    failed = await rerun(tenant, before, {"fromCell": cells[2], "parameters": {"by": 2}})
    assert (failed["status"], failed["errorType"], failed["failedCell"]) == ("Error", "ZeroDivisionError", cells[1])
    assert f"{cells[1]} was replayed" in failed["errorMessage"]
    assert [cell["status"] for cell in failed["cellResults"]] == ["Skipped"]
    assert (await rerun(tenant, failed, {"fromCell": cells[2], "errorPolicy": "continue"}))["status"] == "Completed"


async def test_a_rerun_can_be_checked_and_repeated_safely(tenant: Api) -> None:
    notebook = await tenant.create("print(x)")
    before = await tenant.run(notebook["notebookId"], {"parameters": {"x": 1}})
    path = f"{address(before)}/rerun"
    code, plan, _ = await tenant.post(path, json={"dryRun": True, "parameters": {"y": 2}})
    assert (code, plan["valid"], plan["parameters"], plan["totalCells"]) == (200, True, {"x": 1, "y": 2}, 1)
    headers = {"Idempotency-Key": "rerun"}
    answers = await asyncio.gather(*(tenant.post(path, headers=headers) for _ in range(3)))
    assert {code for code, _, _ in answers} == {202}
    assert len({answer["executionId"] for _, answer, _ in answers}) == 1
    code, _, _ = await tenant.post(path, json={"timeout": 5}, headers=headers)
    assert code == 409
    (again,) = {answer["executionId"] for _, answer, _ in answers}
    await tenant.wait(notebook["notebookId"], again)
    # The first answer stands even when the run that was repeated is gone.
    assert (await tenant.delete(address(before), params={"purge": "true"}))[0] == 204
    code, answer, _ = await tenant.post(path, headers=headers)
    assert (code, answer["executionId"]) == (202, again)
    assert (await tenant.post(path))[0] == 404


@pytest.mark.parametrize(
    "body", [{"version": "1.0.0"}, {"fromcell": "x"}, {"timeout": 0}, {"parameters": []}, {"priority": "high"}]
)
async def test_a_rerun_refuses_what_it_does_not_know(tenant: Api, body: dict[str, Any]) -> None:
    notebook = await tenant.create("print(1)")
    code, problem, _ = await tenant.post(f"{address(await tenant.run(notebook['notebookId']))}/rerun", json=body)
    assert (code, problem["errors"][0]["path"]) == (400, next(iter(body)))
    assert (await tenant.post(f"notebook/{uuid4()}/execution/{uuid4()}/rerun", json=body))[0] == 404


async def test_runs_of_others_cannot_be_repeated(tenant: Api, controlled: Any) -> None:
    notebook = await tenant.create("print(1)")
    before = await tenant.run(notebook["notebookId"])
    stranger = await Api.of(controlled.stack, tenant.session)
    assert (await stranger.post(f"{address(before)}/rerun"))[0] == 404
    viewer = await Api.of(controlled.stack, tenant.session, role="viewer")
    assert (await viewer.post(f"{address(before)}/rerun"))[0] == 404


async def test_the_notebook_can_be_read_while_it_runs(tenant: Api) -> None:
    notebook = await tenant.create(
        "print('first')", "import time\nfor n in range(600): print('tick', n, flush=True); time.sleep(0.1)"
    )
    cells = [cell["cellId"] for cell in notebook["cells"]]
    execution = await tenant.start(notebook["notebookId"])
    await until(tenant, execution, currentCell=cells[1])

    async def texts() -> dict[str, str]:
        shown = await executed_notebook(tenant, execution)
        return {cell.id: "".join(output.get("text", "") for output in cell.outputs) for cell in shown.cells}

    async with asyncio.timeout(10):
        while "tick 3\n" not in (earlier := await texts())[cells[1]]:
            await asyncio.sleep(0.1)
    assert earlier[cells[0]] == "first\n"
    async with asyncio.timeout(10):
        while len((later := await texts())[cells[1]]) == len(earlier[cells[1]]):
            await asyncio.sleep(0.1)
    assert later[cells[1]].startswith(earlier[cells[1]])
    assert (await tenant.post(f"{address(execution)}/cancel"))[0] == 202
    ended = await tenant.wait(notebook["notebookId"], execution["executionId"])
    assert ended["status"] == "Cancelled"
    final = await texts()
    assert final[cells[0]] == "first\n"
    assert final[cells[1]].startswith(later[cells[1]])
    assert final[cells[1]].splitlines()[:5] == [f"tick {n}" for n in range(5)]


async def test_the_notebook_of_a_run_that_never_began(tenant: Api) -> None:
    notebook = await tenant.create("print(1)", environment={"packages": ["no-such-package-of-ours"]})
    ended = await tenant.run(notebook["notebookId"])
    assert ended["status"] == "Error"
    shown = await executed_notebook(tenant, ended)
    assert [(cell.source, cell.outputs) for cell in shown.cells] == [("print(1)", [])]


async def test_a_slow_cell_ends_by_the_requests_limit(tenant: Api) -> None:
    notebook = await tenant.create("import time; time.sleep(60)", "print('after')")
    execution = await tenant.run(notebook["notebookId"], {"cellTimeout": 1})
    assert (execution["status"], execution["errorType"]) == ("Error", "TimeoutError")
    assert execution["failedCell"] == notebook["cells"][0]["cellId"]
    assert "cell's time limit of 1 seconds" in execution["errorMessage"]
    assert [cell["status"] for cell in execution["cellResults"]] == ["Error", "Skipped"]
    going_on = await tenant.run(notebook["notebookId"], {"cellTimeout": 1, "errorPolicy": "continue"})
    assert (going_on["status"], going_on["progress"]["failedCells"]) == ("Completed", 1)
    assert printed(await tenant.results(going_on)) == ["after\n"]


async def test_a_cells_own_limit_goes_before_the_requests(tenant: Api) -> None:
    cells = [
        {"cellType": "code", "content": "import time; time.sleep(1.5)", "metadata": {"execution": {"timeout": 30}}},
        {"cellType": "code", "content": "time.sleep(60)", "metadata": {"execution": {"timeout": 1}}},
    ]
    notebook = await tenant.create(initialCells=cells)
    execution = await tenant.run(notebook["notebookId"], {"cellTimeout": 1})
    assert [cell["status"] for cell in execution["cellResults"]] == ["Success", "Error"]
    assert "cell's time limit of 1 seconds" in execution["errorMessage"]


async def test_the_runs_limit_is_told_as_it_was_asked_for(tenant: Api) -> None:
    notebook = await tenant.create("import time; time.sleep(1)", "time.sleep(60)")
    execution = await tenant.run(notebook["notebookId"], {"timeout": 3, "errorPolicy": "continue"})
    assert (execution["status"], execution["errorType"]) == ("Error", "TimeoutError")
    assert "run's time limit of 3 seconds" in execution["errorMessage"]


async def test_the_runs_limit_holds_before_the_first_cell(tenant: Api, controlled: Any) -> None:
    notebook = await tenant.create("print(1)")
    controlled.hold.touch()
    try:
        execution = await tenant.run(notebook["notebookId"], {"timeout": 1})
    finally:
        controlled.hold.unlink()
    assert (execution["status"], execution["errorType"], execution["failedCell"]) == ("Error", "TimeoutError", None)
    assert "1 seconds" in execution["errorMessage"]


PARAMETERS = {
    "cellType": "code",
    "content": "year: int = 2024\nregion = 'north'  # one of: north, south\nflag = True",
    "tags": ["parameters"],
}


async def test_every_fault_of_a_request_is_found_at_once(tenant: Api) -> None:
    notebook = await tenant.create(initialCells=[PARAMETERS, {"cellType": "code", "content": "print(year, region)"}])
    body = {
        "parameters": {"year": "2024", "region": "east", "flag": None, "other": 1, "dataset_id": str(uuid4())},
        "strictParameters": True,
        "executionMode": "range",
        "cellRange": {"startCell": "nowhere"},
    }
    code, problem, _ = await tenant.post(f"notebook/{notebook['notebookId']}/execute", json=body)
    assert code == 400
    assert {fault["path"] for fault in problem["errors"]} == {
        "parameters.year", "parameters.region", "parameters.flag", "parameters.other", "parameters.dataset_id",
        "cellRange.startCell",
    }  # fmt: skip


async def test_a_dry_run_tells_defaults_and_warnings_and_runs_nothing(tenant: Api) -> None:
    notebook = await tenant.create(initialCells=[PARAMETERS])
    refused = {"dryRun": True, "parameters": {"class": 2, "__debug__": 1}}
    code, problem, _ = await tenant.post(f"notebook/{notebook['notebookId']}/execute", json=refused)
    assert (code, {fault["path"] for fault in problem["errors"]}) == (400, {"parameters.class", "parameters.__debug__"})
    code, plan, _ = await tenant.post(
        f"notebook/{notebook['notebookId']}/execute", json={"dryRun": True, "parameters": {"year": 2025.0}}
    )
    assert (code, plan["parameters"]["year"], type(plan["parameters"]["year"])) == (200, 2025, int)
    body = {"dryRun": True, "parameters": {"year": 2025, "my-name": 1, "other": 3}}
    code, plan, _ = await tenant.post(f"notebook/{notebook['notebookId']}/execute", json=body)
    assert (code, plan["valid"], plan["totalCells"]) == (200, True, 1)
    assert plan["parameters"] == {"year": 2025, "region": "north", "flag": True, "my-name": 1, "other": 3}
    said = {name: next(w for w in plan["warnings"] if f"'{name}'" in w) for name in ("my-name", "other")}
    assert "only in client.parameters" in said["my-name"]
    assert "injected all the same" in said["other"]
    code, page, _ = await tenant.get(f"notebook/{notebook['notebookId']}/executions")
    assert (code, page["totalCount"]) == (200, 0)


async def upload(api: Api, document: nbformat.NotebookNode) -> dict[str, Any]:
    form = aiohttp.FormData()
    form.add_field("notebookName", "uploaded")
    form.add_field("file", nbformat.writes(document).encode(), filename="n.ipynb")
    code, notebook, _ = await api.post("notebook/upload", data=form)
    assert code == 201, notebook
    return dict(notebook)


async def test_a_notebook_can_insist_on_its_parameters_and_set_defaults_in_its_metadata(tenant: Api) -> None:
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(limit, mode)")])
    document.metadata["atelier"] = {
        "strictParameters": True,
        "parameters": {"properties": {"limit": {"type": "integer", "default": 5}, "mode": {"enum": ["a", "b"]}},
                       "required": ["mode"]},
    }  # fmt: skip
    notebook = await upload(tenant, document)
    path = f"notebook/{notebook['notebookId']}/execute"
    code, problem, _ = await tenant.post(path, json={"parameters": {"other": 1}})
    assert code == 400
    assert {fault["path"] for fault in problem["errors"]} == {"parameters.mode", "parameters.other"}
    execution = await tenant.run(notebook["notebookId"], {"parameters": {"mode": "b"}})
    assert printed(await tenant.results(execution)) == ["5 b\n"]


async def test_an_executed_notebook_can_be_executed_again_as_with_papermill(tenant: Api) -> None:
    notebook = await tenant.create(initialCells=[PARAMETERS, {"cellType": "code", "content": "print(year, region)"}])
    before = await tenant.run(notebook["notebookId"], {"parameters": {"year": 2025}})
    executed = await executed_notebook(tenant, before)
    assert [cell.metadata.get("tags") for cell in executed.cells[:2]] == [["parameters"], ["injected-parameters"]]
    again = await upload(tenant, executed)
    assert len(again["cells"]) == 2  # the cell that a run has injected does not stay
    execution = await tenant.run(again["notebookId"], {"parameters": {"year": 2026}})
    assert printed(await tenant.results(execution)) == ["2026 north\n"]
    twice = await executed_notebook(tenant, execution)
    assert len(twice.cells) == 3
    assert (await status(tenant, execution))["progress"]["totalCells"] == 2
