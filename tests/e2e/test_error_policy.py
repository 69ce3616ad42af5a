"""What a failing cell does to its run: the request's policy, the notebook's, and the tags of single cells."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api
from tests.support.runs import terminal_events

FAILS = "raise ValueError('as planned')"


def code(content: str, *tags: str) -> dict[str, Any]:
    return {"cellType": "code", "content": content, "tags": list(tags)}


def statuses(run: dict[str, Any]) -> list[str]:
    return [cell["status"] for cell in run["cellResults"]]


async def printed(api: Api, run: dict[str, Any]) -> str:
    outputs = (await api.results(run))["outputs"]
    return "".join(output["content"] for output in outputs if output["outputType"] == "stream")


async def test_a_cell_that_may_raise_does_not_stop_its_run(api: Api) -> None:
    cells = [code("x = 1"), code(FAILS, "raises-exception"), code("print('after', x)")]
    run = await api.run((await api.create(initialCells=cells))["notebookId"])
    assert (run["status"], run["errorType"], run["failedCell"]) == ("Completed", None, None)
    assert statuses(run) == ["Success", "Error", "Success"]
    allowed = run["cellResults"][1]
    assert (allowed["errorType"], allowed["errorMessage"]) == ("ValueError", "as planned")
    assert "as planned" in allowed["traceback"]
    progress = run["progress"]
    assert (progress["completedCells"], progress["successfulCells"], progress["failedCells"]) == (3, 2, 1)
    assert progress["percentComplete"] == 100
    assert await printed(api, run) == "after 1\n"
    assert await terminal_events(api, run) == ["execution.completed"]


async def test_the_tag_is_of_its_own_cell_alone(api: Api) -> None:
    cells = [code(FAILS, "raises-exception"), code("1 / 0"), code("print('never')")]
    notebook = await api.create(initialCells=cells)
    run = await api.run(notebook["notebookId"])
    assert (run["status"], run["errorType"]) == ("Error", "ZeroDivisionError")
    assert run["failedCell"] == notebook["cells"][1]["cellId"]
    assert statuses(run) == ["Error", "Error", "Skipped"]
    assert run["progress"]["failedCells"] == 2
    assert run["progress"]["percentComplete"] < 100


async def test_a_cell_that_may_raise_need_not(api: Api) -> None:
    run = await api.run((await api.create(initialCells=[code("print('fine')", "raises-exception")]))["notebookId"])
    assert (run["status"], statuses(run), run["progress"]["failedCells"]) == ("Completed", ["Success"], 0)


async def test_the_tag_does_not_cover_the_death_of_the_kernel(api: Api) -> None:
    cells = [code("import os; os._exit(3)", "raises-exception"), code("print('never')")]
    notebook = await api.create(initialCells=cells)
    run = await api.run(notebook["notebookId"], {"errorPolicy": "continue"})
    assert (run["status"], run["errorType"]) == ("Error", "DeadKernelError")
    assert run["failedCell"] == notebook["cells"][0]["cellId"]
    assert statuses(run) == ["Error", "Skipped"]


async def test_a_cell_to_be_skipped_does_not_run(api: Api) -> None:
    cells = [code("x = 1"), code("x = 2\nprint('ran')", "skip-execution"), code("print(x)")]
    run = await api.run((await api.create(initialCells=cells))["notebookId"])
    assert (run["status"], statuses(run)) == ("Completed", ["Success", "Skipped", "Success"])
    skipped = run["cellResults"][1]
    assert (skipped["hasOutput"], skipped["errorType"], skipped["executionCount"]) == (False, None, None)
    assert (run["progress"]["failedCells"], run["progress"]["percentComplete"]) == (0, 100)
    assert await printed(api, run) == "1\n"


async def test_a_skipped_cell_that_would_fail_fails_nothing(api: Api) -> None:
    run = await api.run((await api.create(initialCells=[code(FAILS, "skip-execution")]))["notebookId"])
    assert (run["status"], statuses(run), run["progress"]["failedCells"]) == ("Completed", ["Skipped"], 0)


@pytest.mark.parametrize(
    ("notebooks", "requests", "goes_on"),
    [
        (None, None, False),
        ("stop", None, False),
        ("continue", None, True),
        ("continue", "stop", False),
        ("stop", "continue", True),
        (None, "continue", True),
    ],
)
async def test_the_requests_policy_comes_before_the_notebooks(
    api: Api, notebooks: str | None, requests: str | None, goes_on: bool
) -> None:
    notebook = await api.create("print('before')", FAILS, "print('after')", integration={"errorPolicy": notebooks})
    run = await api.run(notebook["notebookId"], {"errorPolicy": requests})
    failed = notebook["cells"][1]["cellId"]
    if goes_on:
        assert (run["status"], run["errorType"], run["failedCell"]) == ("Completed", None, None)
        assert statuses(run) == ["Success", "Error", "Success"]
    else:
        assert (run["status"], run["errorType"], run["failedCell"]) == ("Error", "ValueError", failed)
        assert (run["errorMessage"], statuses(run)) == ("as planned", ["Success", "Error", "Skipped"])
    assert run["progress"]["failedCells"] == 1
