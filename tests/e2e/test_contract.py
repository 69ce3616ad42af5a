"""Rules that hold everywhere, through the whole stack: states in conflicts, what deletion leaves, made-up input."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from tests.support.api import Api


async def history_of(api: Api, notebook_id: str, execution_id: str) -> dict[str, int]:
    """The code of each read of a notebook's runs."""
    run = f"notebook/{notebook_id}/execution/{execution_id}"
    paths = (f"notebook/{notebook_id}/executions", f"notebook/{notebook_id}/execution-status", run, f"{run}/results")
    return {path: (await api.get(path))[0] for path in paths}


async def test_a_deleted_notebook_takes_its_executions_along(api: Api) -> None:
    notebook_id = (await api.create("1"))["notebookId"]
    execution_id = (await api.run(notebook_id))["executionId"]
    assert set((await history_of(api, notebook_id, execution_id)).values()) == {200}
    assert (await api.delete(f"notebook/{notebook_id}"))[0] == 204
    assert set((await history_of(api, notebook_id, execution_id)).values()) == {404}


async def test_executions_that_are_still_to_be_removed_are_not_seen(stack: Stack, api: Api) -> None:
    own = await Api.of(stack, api.session)
    notebook_id = (await own.create("1"))["notebookId"]
    execution_id = (await own.run(notebook_id))["executionId"]
    connection = await asyncpg.connect(stack.postgres_dsn)
    try:
        await connection.execute("UPDATE executor.notebook SET deleting_at = now() WHERE notebook_id = $1", notebook_id)
    finally:
        await connection.close()
    status, page, _ = await own.get(f"notebook/{notebook_id}/executions")
    assert (status, page["totalCount"], page["executions"]) == (200, 0, [])  # catalog still has the notebook
    assert set((await history_of(own, notebook_id, execution_id)).values()) == {200, 404}
    assert (await own.get("execution/history"))[1]["totalCount"] == 0


async def test_a_notebook_that_never_was_has_no_history(api: Api) -> None:
    assert (await api.get("notebook/00000000-0000-4000-8000-000000000000/executions"))[0] == 404


async def test_conflicts_say_which_state_they_are_about(api: Api, simulated_log: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    notebook = await api.create("import time; time.sleep(600)", integration={"datasetBinding": dataset["datasetId"]})
    path = f"notebook/{notebook['notebookId']}"
    run = await api.start(notebook["notebookId"])
    for method, address, thing in (
        ("DELETE", path, notebook),
        ("POST", f"{path}/schedule/pause", notebook),
        ("POST", f"{path}/schedule/run", notebook),
        ("DELETE", f"dataset/{dataset['datasetId']}", dataset),
    ):
        status, problem, _ = await api.call(method, address)
        assert status == 409, address
        assert (problem["dateModified"], problem["etag"]) == (thing["dateModified"], thing["etag"])
    await api.post(f"{path}/execution/{run['executionId']}/cancel")


async def test_a_figure_brings_its_title(api: Api) -> None:
    notebook = await api.create(
        "md:# The heading",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('Waiting times'); plt.show()\n"
        "plt.plot([1, 2]); plt.show()",
    )
    results = await api.results(await api.run(notebook["notebookId"]))
    assert [output["title"] for output in results["outputs"]] == ["Waiting times", "The heading"]


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.parametrize(
    "made_up",
    [
        "nothing of ours",
        cursor("2024-01-01T00:00:00Z", 5),
        cursor("2024-01-01T00:00:00", "x"),
        cursor("0001-01-01T00:00:00+05:00", "aa0e8400-e29b-41d4-a716-446655440000"),
        cursor(5, None),
        cursor({"a": []}),
    ],
)
async def test_a_cursor_that_no_page_gave_is_400(api: Api, made_up: str) -> None:
    notebook_id = (await api.create("1"))["notebookId"]
    lists = (f"notebook/{notebook_id}/executions", f"notebook/{notebook_id}/schedule/fires", "notebooks", "datasets")
    for path in (*lists, "execution/history"):
        status, problem, _ = await api.get(path, params={"cursor": made_up})
        assert status == 400, path
        assert [fault["path"] for fault in problem["errors"]] == ["cursor"]


async def test_events_after_one_that_no_run_reaches_are_none(api: Api) -> None:
    notebook_id = (await api.create("1"))["notebookId"]
    run = await api.run(notebook_id)
    for number in ("9999999999", "2147483647"):
        status, events, _ = await api.get(
            f"notebook/{notebook_id}/execution/{run['executionId']}/events", headers={"Last-Event-ID": number}
        )
        assert (status, events) == (204, b"")  # which ends a browser's EventSource for good


def paths(answer: tuple[int, Any, Any]) -> set[str]:
    """Where the faults of a refusal are."""
    status, problem, _ = answer
    assert status == 400, problem
    return {fault["path"] for fault in problem["errors"]}


async def test_faults_of_shape_and_of_substance_come_in_one_round(api: Api) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    draft = {
        "notebookName": "",
        "template": "nope",
        "integration": {"scheduleExecution": "bad", "datasetBinding": nobody},
        "initialCells": [{"cellType": "code", "tags": ["a,b"]}],
    }
    assert paths(await api.post("notebook", json=draft)) == {
        "notebookName",
        "template",
        "integration.scheduleExecution",
        "integration.datasetBinding",
        "initialCells[0].tags[0]",
    }
    cells = [{"cellType": "code", "content": "n: int = 1", "tags": ["parameters"]}]
    notebook = await api.create(initialCells=cells)
    path = f"notebook/{notebook['notebookId']}"
    run = {"timeout": 0, "cellTimeout": True, "parameters": {"n": "x", "dataset_id": nobody}}
    assert paths(await api.post(f"{path}/execute", json=run)) == {
        "timeout",
        "cellTimeout",
        "parameters.n",
        "parameters.dataset_id",
    }
    patch = {
        "kernelType": "cobol",
        "integration": {"datasetBinding": nobody, "scheduleTimeZone": "Mars/Olympus"},
        "cells": [{"cellType": "cod", "content": "1"}, {"cellType": "code", "tags": ["a,b"]}],
    }
    assert paths(await api.put(path, json=patch)) == {
        "kernelType",
        "integration.datasetBinding",
        "integration.scheduleTimeZone",
        "cells[0].cellType",
        "cells[1].tags[0]",
    }
    form = aiohttp.FormData({"kernelType": "cobol", "datasetBinding": nobody})
    form.add_field("file", b'{"nbformat": 4, "cells": {}}', filename="a.ipynb")
    assert {"kernelType", "datasetBinding", "file.cells"} <= paths(await api.post("notebook/upload", data=form))


async def test_the_command_that_makes_a_key_prints_one_that_works_within_its_project_and_role(
    stack: Stack, api: Api
) -> None:
    make = partial(stack.create_key, tenant=api.tenant, project=api.project, role="viewer", name="a person")
    key = await asyncio.to_thread(make)
    holder = Api(stack.url, api.session, tenant=api.tenant, project=api.project, key=key)
    expected = {"subject": "a person", "role": "viewer", "tenantId": api.tenant, "projects": [api.project]}
    assert (await holder.get("/api/me"))[:2] == (200, expected)
    assert (await holder.get("notebooks"))[0] == 200
    assert (await holder.post("notebook", json={"notebookName": "x"}))[0] == 403
    assert (await holder.get(f"/api/{api.tenant}/00000000-0000-4000-8000-000000000000/notebooks"))[0] == 404
