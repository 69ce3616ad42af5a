"""A notebook's values by HTTP: paged, bounded, and told apart from runs that go on, fail or are cancelled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from services.gateway.routes.values import MAX_INLINE_BYTES
from shared.contracts.executions import GetExecution, LocateValue, StartExecution, ValueSource
from shared.contracts.notebooks import CheckNotebook
from shared.contracts.results import ArtifactEntry, ArtifactList, ListArtifacts
from shared.errors import NotFound, Unavailable
from tests.unit.gateway.fake_ports import EXECUTION, NOTEBOOK, RUNNING, Api
from tests.unit.gateway.test_waiting import Status, telling

PATH = f"notebook/{NOTEBOOK.notebook_id}/value"
SOURCE = ValueSource(
    execution_id=EXECUTION.execution_id,
    notebook_id=NOTEBOOK.notebook_id,
    notebook_version="1.3.2",
    date_ended=datetime(2024, 1, 20, tzinfo=UTC),
    epoch=1,
    parameters={"limit": 3},
)


def entry(position: int, name: str, content: Any, size: int = 10, *, truncated: bool = False) -> ArtifactEntry:
    return ArtifactEntry(
        artifact_id=uuid4(),
        kind="value",
        position=position,
        name=name,
        file_name=f"{name}.json",
        content_type="application/json",
        size_bytes=size,
        sha256="0" * 64,
        content=content,
        content_truncated=truncated,
    )


def paged(entries: list[ArtifactEntry], size: int) -> Any:
    """As artifacts answers: pages after an artifact, without content where none is asked for."""

    def answer(command: ListArtifacts) -> ArtifactList:
        assert command.kinds == ["value"]
        rest = [one for one in entries if command.after is None or one.position > command.after.position]
        page = rest[:size]
        if not command.with_content:
            page = [one.model_copy(update={"content": None}) for one in page]
        return ArtifactList(artifacts=page, more=len(rest) > size)

    return answer


async def test_all_values_come_and_of_one_name_the_last(api: Api) -> None:
    api.requests.on(LocateValue, SOURCE)
    entries = [entry(1, "a", 1), entry(2, "b", None), entry(3, "a", [2]), entry(4, "large", None, truncated=True)]
    api.requests.on(ListArtifacts, paged(entries, 2))
    answer = await api.call("GET", PATH)
    assert answer.status == 200
    assert answer.json["values"] == {"a": [2], "b": None}
    assert answer.json["parameters"] == {"limit": 3}
    assert answer.json["dateEnded"] == "2024-01-20T00:00:00.000Z"
    assert list(answer.json["largeValues"]) == ["large"]
    assert answer.json["largeValues"]["large"]["downloadUrl"].startswith("http")


async def test_an_answer_holds_so_much_and_no_more(api: Api) -> None:
    api.requests.on(LocateValue, SOURCE)
    entries = [entry(number, f"v{number}", "x", MAX_INLINE_BYTES // 4) for number in range(12)]
    api.requests.on(ListArtifacts, paged(entries, 2))
    answer = await api.call("GET", PATH)
    assert sorted(answer.json["values"]) == ["v0", "v1", "v2", "v3"]
    assert len(answer.json["largeValues"]) == 8
    asked = [command.with_content for command in api.requests.asked if isinstance(command, ListArtifacts)]
    assert asked == [True, True, False, False, False, False]


async def test_without_a_completed_execution_or_a_notebook_it_is_404(api: Api) -> None:
    api.requests.on(LocateValue, NotFound("This notebook has no completed execution, so it has no values yet."))
    api.requests.on(CheckNotebook, NOTEBOOK)
    answer = await api.call("GET", PATH)
    assert (answer.status, "no completed execution" in answer.json["detail"]) == (404, True)
    api.requests.on(CheckNotebook, NotFound("There is no such notebook."))
    assert (await api.call("GET", PATH)).json["detail"] == "There is no such notebook."


async def test_a_run_that_ends_in_time_is_answered_with_its_values(api: Api) -> None:
    api.requests.on(StartExecution, RUNNING)
    api.requests.on(GetExecution, Status(RUNNING, RUNNING, EXECUTION))
    api.feeds.on_listen = telling(2)  # type: ignore[assignment]
    api.requests.on(LocateValue, SOURCE)
    api.requests.on(ListArtifacts, paged([entry(1, "a", 1)], 10))
    answer = await api.call("POST", PATH, json={"parameters": {"limit": 3}})
    assert (answer.status, answer.json["values"]) == (200, {"a": 1})
    assert api.requests.last(LocateValue).execution_id == EXECUTION.execution_id


async def test_a_run_that_goes_on_is_answered_with_its_place(api: Api) -> None:
    api.requests.on(StartExecution, RUNNING)
    for status in (RUNNING, Unavailable("away")):
        api.requests.on(GetExecution, status)
        answer = await api.call("POST", f"{PATH}?wait=0")
        assert (answer.status, answer.json["status"]) == (202, "Running")
        assert answer.headers["Location"].endswith(f"/execution/{RUNNING.execution_id}")
    assert (await api.call("POST", f"{PATH}?wait=21")).status == 400


async def test_a_run_that_fails_is_a_problem_that_says_how(api: Api) -> None:
    failed = {"status": "Error", "error_type": "E", "error_message": "m" * 9_000, "failed_cell": "cell-002"}
    api.requests.on(StartExecution, RUNNING)
    api.requests.on(GetExecution, EXECUTION.model_copy(update=failed))
    answer = await api.call("POST", PATH)
    assert answer.status == 422
    assert answer.json["detail"].startswith("The execution failed with E in cell-002: mmm")
    assert {name: answer.json[name] for name in ("executionStatus", "errorType", "failedCell", "executionId")} == {
        "executionStatus": "Error",
        "errorType": "E",
        "failedCell": "cell-002",
        "executionId": str(EXECUTION.execution_id),
    }
    assert len(answer.json["errorMessage"]) == 2_000
    api.requests.on(GetExecution, EXECUTION.model_copy(update={"status": "Cancelled"}))
    answer = await api.call("POST", PATH)
    assert (answer.status, answer.json["executionStatus"]) == (422, "Cancelled")
