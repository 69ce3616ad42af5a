"""The end of a run: results as the notebook has them, exits on purpose, papermill's notes, what no store takes."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from papermill.iorw import load_notebook_node

from tests.e2e.test_events import read_events
from tests.support.api import Api
from tests.support.runs import address, terminal_events

DISPLAY = "from IPython.display import display, clear_output, publish_display_data as publish\n"


async def executed(api: Api, run: dict[str, Any]) -> Any:
    """The executed notebook."""
    status, notebook, _ = await api.get(f"{address(run)}/notebook")
    assert status == 200
    return nbformat.reads(json.dumps(notebook) if isinstance(notebook, dict) else notebook.decode(), as_version=4)


async def in_zip(api: Api, run: dict[str, Any]) -> dict[str, bytes]:
    """The files of the zip with all results."""
    async with api.session.get(
        api.url(f"{address(run)}/results"), params={"format": "download"}, headers=api.headers
    ) as response:
        assert response.status == 200
        with zipfile.ZipFile(io.BytesIO(await response.read())) as packed:
            return {name: packed.read(name) for name in packed.namelist()}


@pytest.mark.parametrize("intermediate", [False, True])
async def test_results_are_what_the_notebook_says_at_its_end(api: Api, intermediate: bool) -> None:
    notebook = await api.create(
        DISPLAY + "h = display('first', display_id='d1')\ndisplay('stays')",
        DISPLAY + "g = display('taken away', display_id='d2')",
        "import time; time.sleep(0.6); h.update('second')\nprint('done')",
        "display('x' * 50_000, display_id='d3'); clear_output(); display('last')",
    )
    cells = [cell["cellId"] for cell in notebook["cells"]]
    body = {"outputOptions": {"saveIntermediateResults": intermediate, "generateReport": True}}
    execution = await api.start(notebook["notebookId"], body)
    if intermediate:
        async with asyncio.timeout(60):
            while not (seen := (await api.results(execution))["outputs"]):
                await asyncio.sleep(0.05)
        assert seen[0]["content"] == "'first'"
    run = await api.wait(notebook["notebookId"], execution["executionId"])
    assert run["status"] == "Completed", run
    results = await api.results(run)
    assert [(output["cellId"], output["content"]) for output in results["outputs"]] == [
        (cells[0], "'second'"),
        (cells[0], "'stays'"),
        (cells[1], "'taken away'"),
        (cells[2], "done\n"),
        (cells[3], "'last'"),
    ]
    assert len({output["artifactId"] for output in results["outputs"]}) == 5
    after = await executed(api, run)
    assert [out.data["text/plain"] for out in after.cells[0].outputs] == ["'second'", "'stays'"]
    files = await in_zip(api, run)
    assert b"'second'" in files.values()
    assert b"'first'" not in files.values()
    report = next(body for name, body in files.items() if name.endswith("report.html"))
    assert b"second" in report
    for output in results["outputs"]:
        async with api.session.get(output["downloadUrl"]) as response:
            assert (await response.text()) == output["content"]


@pytest.mark.parametrize("code", ["import sys; sys.exit()", "raise SystemExit(0)", "quit()"])
async def test_a_notebook_may_end_its_run(api: Api, code: str) -> None:
    notebook = await api.create("print('one')", code, "md:# Never", "print('never')")
    cells = [cell["cellId"] for cell in notebook["cells"]]
    run = await api.run(notebook["notebookId"])
    assert (run["status"], run["errorType"], run["failedCell"]) == ("Completed", None, None)
    assert [cell["status"] for cell in run["cellResults"]] == ["Success", "Success", "Skipped", "Skipped"]
    assert [cell["skipReason"] for cell in run["cellResults"]] == [
        None,
        None,
        *[f"the notebook ended its run in {cells[1]}"] * 2,
    ]
    assert (run["progress"]["percentComplete"], run["progress"]["successfulCells"]) == (100, 2)
    assert await terminal_events(api, run) == ["execution.completed"]


async def test_other_exits_are_errors_whatever_the_policy_says_of_later_cells(api: Api) -> None:
    notebook = await api.create("import sys; sys.exit('bad')", "sys.exit(3)", "print('goes on')")
    run = await api.run(notebook["notebookId"], {"errorPolicy": "continue"})
    assert [(cell["status"], cell["errorType"], cell["errorMessage"]) for cell in run["cellResults"]] == [
        ("Error", "SystemExit", "bad"),
        ("Error", "SystemExit", "3"),
        ("Success", None, None),
    ]
    stopped = await api.run(notebook["notebookId"])
    assert (stopped["status"], stopped["errorType"]) == ("Error", "SystemExit")
    first = notebook["cells"][0]["cellId"]
    assert stopped["cellResults"][2]["skipReason"] == f"the run stopped at an error in {first}"


def notes(notebook: Any) -> Any:
    """papermill's notes of the file, and of each cell: which there are, and what they say but for times."""
    return (
        {name: value for name, value in notebook.metadata.papermill.items() if not name.endswith(("_path", "time"))},
        [
            (cell.metadata.papermill.status, cell.metadata.papermill.exception, sorted(cell.metadata.papermill))
            for cell in notebook.cells
            if "papermill-error-cell-tag" not in cell.metadata.tags
        ],
    )


@pytest.mark.parametrize("last", ["print(year)", "1 / 0"])
async def test_the_executed_notebook_has_papermills_notes(api: Api, tmp_path: Path, last: str) -> None:
    """Oracle: papermill, on the same notebook."""
    cells = [
        {"cellType": "code", "content": "year = 2020", "tags": ["parameters"]},
        {"cellType": "markdown", "content": "# A"},
        {"cellType": "code", "content": last},
        {"cellType": "code", "content": "2"},
    ]
    notebook = await api.create(initialCells=cells)
    run = await api.run(notebook["notebookId"], {"parameters": {"year": 2024}})
    (tmp_path / "ours.ipynb").write_text(nbformat.writes(await executed(api, run)))
    _, exported, _ = await api.get(f"notebook/{notebook['notebookId']}/export")
    exported = exported if isinstance(exported, dict) else json.loads(exported)
    source = tmp_path / "source.ipynb"
    source.write_text(json.dumps(exported))

    class WithoutKernel(papermill.engines.Engine):  # type: ignore[misc]
        """papermill's own notes, without a kernel: the cells end as they did here."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, _kernel_name: str, **_: Any) -> None:
            for index, cell in enumerate(nb_man.nb.cells):
                nb_man.cell_start(cell, index)
                failed = cell.source == "1 / 0"
                if failed:
                    cell.outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
                    nb_man.cell_exception(cell, cell_index=index)
                nb_man.cell_complete(cell, cell_index=index)
                if failed:
                    return

    papermill.engines.papermill_engines.register("without-kernel", WithoutKernel)
    theirs = tmp_path / "theirs.ipynb"
    try:
        papermill.execute_notebook(
            str(source), str(theirs), parameters={"year": 2024}, engine_name="without-kernel", progress_bar=False,
            kernel_name="python3",
        )  # fmt: skip
    except papermill.PapermillExecutionError:
        assert last == "1 / 0"
    ours, expected = load_notebook_node(str(tmp_path / "ours.ipynb")), load_notebook_node(str(theirs))
    (of_file, of_cells), (their_file, their_cells) = notes(ours), notes(expected)
    assert {**of_file, "duration": 0} == {**their_file, "duration": 0}
    assert of_cells == their_cells
    assert set(ours.metadata.papermill) == set(expected.metadata.papermill)
    assert ours.metadata.papermill.start_time <= ours.cells[-2].metadata.papermill.end_time
    assert ours.cells[-2].metadata.papermill.end_time <= ours.metadata.papermill.end_time
    found = papermill.inspect_notebook(str(tmp_path / "ours.ipynb"))
    assert found["year"]["default"] == "2020"


async def test_long_words_are_cut_in_events_and_whole_in_artifacts(api: Api) -> None:
    notebook = await api.create(
        "raise ValueError('x' * 6_000_000)",
        "raise type('E' * 3_000_000, (Exception,), {})('m')",
        DISPLAY + "publish({'image/' + 'y' * 2_000_000: 'z'})",
        "publish({'text/x\\r\\nX-Evil: 1': 'q'})",
    )
    run = await api.run(notebook["notebookId"], {"errorPolicy": "continue"})
    assert [cell["status"] for cell in run["cellResults"]] == ["Error", "Error", "Success", "Success"]
    assert run["cellResults"][0]["errorMessage"].endswith("[cut: 6,000,000 characters]")
    assert run["cellResults"][1]["errorType"].endswith("[cut: 3,000,000 characters]")
    assert run["cellResults"][2]["outputType"] == "display_data"
    assert max(len(json.dumps(event)) for event in await read_events(api, run)) < 500_000
    outputs = (await api.results(run, format="summary"))["outputs"]
    assert outputs[0]["sizeBytes"] > 6_000_000
    assert [output["contentType"] for output in outputs] == ["text/plain"] * 4
    for output in outputs:
        async with api.session.get(output["downloadUrl"]) as response:
            assert response.status == 200
            assert "X-Evil" not in response.headers
    stopped = await api.run(notebook["notebookId"])
    assert (stopped["status"], stopped["errorType"]) == ("Error", "ValueError")
    assert len(stopped["errorMessage"]) < 20_000


async def test_what_cannot_be_encoded_costs_no_more_than_its_cell(api: Api) -> None:
    packer = (
        "import json\nget_ipython().kernel.session.pack = lambda o: json.dumps(o, default=str).encode()\n" + DISPLAY
    )
    progress = "publish({'application/vnd.atelier.progress+json': %s})"
    notebook = await api.create(
        packer + progress % "{'fraction': 0.5, 'message': '\\ud83d'}",
        progress % "'[' * 100_000",
        "publish({'application/json': {'a': float('nan'), 'b': '\\ud83d', 'c': 2 ** 70}})",
        "from ipykernel.comm import Comm\n"
        "Comm(target_name='jupyter.widget', data={'state': {'_model_name': 'A', 'v': '\\ud83d', 'n': float('inf')}})",
        "print('\\ud83d')\nraise ValueError('\\ud83d')",
        "get_ipython().kernel.session.pack = lambda o: b'[' * 100_000",
    )
    run = await api.run(notebook["notebookId"], {"errorPolicy": "continue"})
    assert [cell["status"] for cell in run["cellResults"]] == ["Success"] * 4 + ["Error"] * 2
    assert (run["errorType"], run["failedCell"]) == ("KernelMessageError", notebook["cells"][5]["cellId"])
    events = await read_events(api, run)
    assert sum(event["type"] == "execution.started" for event in events) == 1
    (shown,) = [output for output in (await api.results(run))["outputs"] if output["outputType"] == "application/json"]
    assert (shown["content"], shown["contentTruncated"]) == (None, True)
    assert any("more than 64 bits (c)" in warning for warning in run["warnings"])
    async with api.session.get(shown["downloadUrl"]) as response:
        assert json.loads(await response.read()) == {"a": None, "b": "\ufffd", "c": 2**70}
    after = await executed(api, run)
    assert after.cells[2].outputs[0].data["application/json"]["c"] == 2**70
    nbformat.validate(after)


LEAVES = (
    "import atexit, os, threading, time\nout = os.environ['ATELIER_RUN_DIR'] + '/outputs/'\n"
    "unclosed = open(out + 'rows.csv', 'w'); unclosed.write('a,b\\n1,2\\n')\n"
    "def late():\n    time.sleep(0.4)\n    with open(out + 'late.txt', 'w') as file: file.write('late')\n"
    "atexit.register(lambda: open(out + 'exit.txt', 'w').write('bye'))"
)
BEGINS_LATE = "threading.Thread(target=late).start()"


@pytest.mark.parametrize(
    ("last", "body", "end"),
    [
        pytest.param(BEGINS_LATE, {}, "Completed", id="good"),
        pytest.param(f"{BEGINS_LATE}\n1 / 0", {}, "Error", id="error"),
        pytest.param(f"{BEGINS_LATE}\nwhile True: time.sleep(0.05)", {"timeout": 3}, "Error", id="time limit"),
        pytest.param(f"{BEGINS_LATE}\nimport sys; sys.exit()", {}, "Completed", id="exit"),
    ],
)
async def test_what_is_written_until_the_kernels_end_is_kept(
    api: Api, last: str, body: dict[str, Any], end: str
) -> None:
    run = await api.run((await api.create(LEAVES, last))["notebookId"], body)
    assert run["status"] == end
    files = {file["name"]: file for file in (await api.results(run))["files"]}
    assert {name: file["sizeBytes"] for name, file in files.items()} == {"rows.csv": 8, "late.txt": 4, "exit.txt": 3}
    async with api.session.get(files["rows.csv"]["downloadUrl"]) as response:
        assert await response.text() == "a,b\n1,2\n"


async def test_a_cancelled_run_keeps_what_its_exit_functions_write(api: Api) -> None:
    notebook = await api.create(LEAVES, "while True: time.sleep(0.05)")
    execution = await api.start(notebook["notebookId"])
    async with asyncio.timeout(60):
        while (await api.get(address(execution)))[1]["currentCell"] != notebook["cells"][1]["cellId"]:
            await asyncio.sleep(0.05)
    assert (await api.post(f"{address(execution)}/cancel"))[0] == 202
    run = await api.wait(notebook["notebookId"], execution["executionId"])
    assert run["status"] == "Cancelled"
    files = {file["name"]: file["sizeBytes"] for file in (await api.results(run))["files"]}
    assert files == {"rows.csv": 8, "exit.txt": 3}
