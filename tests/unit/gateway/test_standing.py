"""What the thing in an address is: which state a conflict is about, 404 before 403, words beside ids, preconditions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from services.gateway import dispatch
from services.gateway.model import Role
from shared.contracts.datasets import GetDataset
from shared.contracts.executions import (
    BlockNotebook,
    CancelExecution,
    ExecutionPage,
    GetExecution,
    ListExecutions,
    StartExecution,
)
from shared.contracts.libraries import DeleteLibrary, PinLibraries, PinnedLibraries
from shared.contracts.lineage import TraceExecution
from shared.contracts.notebooks import (
    CheckDatasetUnbound,
    CheckNotebook,
    DeleteNotebook,
    GetNotebook,
    NotebookState,
    UpdateNotebook,
)
from shared.contracts.results import GetArtifact
from shared.contracts.schedules import PauseSchedule, ResumeSchedule, RunSchedule
from shared.contracts.templates import GetTemplate, RemoveTemplate
from shared.contracts.versions import GetVersion
from shared.errors import Conflict, NotFound, Unavailable
from tests.unit.gateway.fake_ports import DATASET, EXECUTION, LIBRARY, NOTEBOOK, TRACE, Api

PATH = f"notebook/{NOTEBOOK.notebook_id}"
RUN = f"{PATH}/execution/{EXECUTION.execution_id}"
STATE = NotebookState(etag="present", date_modified=datetime(2024, 1, 20, 10, 30, tzinfo=UTC))
OTHER = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path", "command"),
    [
        ("DELETE", PATH, BlockNotebook),
        ("POST", f"{PATH}/execute", StartExecution),
        ("POST", f"{PATH}/schedule/pause", PauseSchedule),
        ("POST", f"{PATH}/schedule/resume", ResumeSchedule),
        ("POST", f"{PATH}/schedule/run", RunSchedule),
        ("PUT", PATH, UpdateNotebook),
    ],
)
async def test_a_conflict_about_a_notebook_says_which_state_it_is_in(
    api: Api, method: str, path: str, command: Any
) -> None:
    api.requests.on(CheckNotebook, STATE)
    api.requests.on(command, Conflict("Not now."))
    answer = await api.call(method, path)
    assert (answer.status, answer.json["detail"]) == (409, "Not now.")
    assert answer.json["dateModified"] == "2024-01-20T10:30:00.000Z"
    assert answer.json["etag"] == "present"


async def test_a_conflict_about_a_dataset_says_which_state_it_is_in(api: Api) -> None:
    api.requests.on(GetDataset, DATASET)
    api.requests.on(CheckDatasetUnbound, Conflict("It is bound."))
    answer = await api.call("DELETE", f"dataset/{DATASET.dataset_id}")
    assert (answer.status, answer.json["etag"]) == (409, DATASET.etag)
    assert answer.json["dateModified"].endswith("Z")


async def test_a_conflict_is_told_even_when_its_state_cannot_be_had(api: Api) -> None:
    api.requests.on(StartExecution, Conflict("Not now."))
    api.requests.on(CheckNotebook, Unavailable("Away."))
    answer = await api.call("POST", f"{PATH}/execute")
    assert (answer.status, answer.json["detail"]) == (409, "Not now.")


async def test_an_execution_has_no_state_of_its_own(api: Api) -> None:
    api.requests.on(CancelExecution, Conflict("It has ended."))
    answer = await api.call("POST", f"{RUN}/cancel")
    assert answer.status == 409
    assert "dateModified" not in answer.json


async def test_the_history_of_a_notebook_that_does_not_exist_is_404(api: Api) -> None:
    empty = ExecutionPage(executions=[], total_count=0, page=1, page_size=20, has_next_page=False)
    api.requests.on(ListExecutions, empty)
    api.requests.on(CheckNotebook, NotFound("There is no such notebook."))
    assert (await api.call("GET", f"{PATH}/executions")).status == 404
    api.requests.on(CheckNotebook, STATE)
    assert (await api.call("GET", f"{PATH}/executions")).json["totalCount"] == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "library/nope"),
        ("DELETE", "templates/nope"),
        ("PUT", f"{PATH}/cells/nope"),
        ("DELETE", f"{PATH}/cells/nope"),
        ("POST", f"{PATH}/versions/9.9.9/restore"),
        ("POST", f"{RUN}/artifacts/{OTHER}/dataset"),
        ("DELETE", "library/%00"),
        ("DELETE", "templates/%00"),
    ],
)
async def test_what_is_not_there_is_404_for_a_caller_who_lacks_the_role(api: Api, method: str, path: str) -> None:
    api.requests.on(CheckNotebook, STATE)
    api.requests.on(GetNotebook, NOTEBOOK)
    api.requests.on(GetExecution, EXECUTION)
    api.requests.on(TraceExecution, TRACE)
    api.requests.on(PinLibraries, PinnedLibraries(libraries=[]))
    assert (await api.call(method, path, role=Role.viewer)).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "library/rules"),
        ("DELETE", "templates/blank"),
        ("PUT", f"{PATH}/cells/{NOTEBOOK.cells[0].cell_id}"),
        ("POST", f"{PATH}/versions/1.0.0/restore"),
        ("POST", f"{RUN}/artifacts/{OTHER}/dataset"),
    ],
)
async def test_what_is_there_is_403_for_a_caller_who_lacks_the_role(api: Api, method: str, path: str) -> None:
    api.requests.on(GetNotebook, NOTEBOOK)
    api.requests.on(TraceExecution, TRACE)
    api.requests.on(PinLibraries, PinnedLibraries(libraries=[LIBRARY]))
    for command in (GetTemplate, GetVersion, GetArtifact):
        api.requests.on(command, NOTEBOOK)
    assert (await api.call(method, path, role=Role.viewer)).status == 403


@pytest.mark.parametrize("name", ["%00", "%0A", "x" * 201])
async def test_a_name_that_nothing_can_have_is_404_and_nobody_is_asked(api: Api, name: str) -> None:
    for method, path in (("GET", "templates"), ("DELETE", "templates"), ("DELETE", "library")):
        assert (await api.call(method, f"{path}/{name}")).status == 404
    asked = {type(command) for command in api.requests.asked}
    assert not asked & {GetTemplate, RemoveTemplate, DeleteLibrary}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "notebook/upload", {"POST"}),
        ("PUT", "notebook/upload", {"POST"}),
        ("PUT", "notebook/ping", {"GET", "HEAD"}),
        ("DELETE", "notebook/ping", {"GET", "HEAD"}),
        ("DELETE", "dataset/ping", {"GET", "HEAD"}),
        ("POST", "dataset/unauthorized-ping", {"GET", "HEAD"}),
    ],
)
async def test_a_word_beside_ids_has_methods_of_its_own(api: Api, method: str, path: str, allowed: set[str]) -> None:
    answer = await api.call(method, path)
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(",")) == allowed
    assert answer.json["error"] == answer.json["detail"]


@pytest.mark.parametrize("path", ["notebook/x", f"{PATH}0", f"{PATH}/execution/1", "dataset/%00", "/api/a/b/notebooks"])
async def test_a_malformed_id_is_404_in_the_one_shape(api: Api, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await api.call(method, path)
        assert answer.status in ((404, 405) if path.endswith("notebooks") else (404,))
        assert {"type", "title", "status", "detail", "instance", "error", "requestId"} <= set(answer.json)
    assert not api.requests.asked


async def test_ids_are_read_in_any_case(api: Api) -> None:
    api.requests.on(GetNotebook, NOTEBOOK)
    assert (await api.call("GET", f"notebook/{str(NOTEBOOK.notebook_id).upper()}")).status == 200


async def test_the_header_wins_over_the_state_in_a_body(api: Api) -> None:
    api.requests.on(UpdateNotebook, NOTEBOOK)
    stale = {"etag": "old", "dateModified": "2020-01-01T00:00:00Z", "notebookName": "n"}
    await api.call("PUT", PATH, json=stale, headers={"If-Match": '"fresh"'})
    command = api.requests.last(UpdateNotebook)
    assert (command.precondition.etag, command.precondition.date_modified) == ("fresh", None)
    assert command.patch == {"notebookName": "n"}
    await api.call("PUT", PATH, json=stale)
    assert api.requests.last(UpdateNotebook).precondition.etag == "old"


async def test_if_match_may_be_a_list(api: Api) -> None:
    api.requests.on(UpdateNotebook, NOTEBOOK)
    await api.call("PUT", PATH, json={}, headers={"If-Match": '"a", W/"b"'})
    given = api.requests.last(UpdateNotebook).precondition
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert [given.holds(etag=tag, modified_at=at) for tag in ("a", "b", "c")] == [True, True, False]
    for malformed in ('"a",', '"a""b"', ","):
        answer = await api.call("PUT", PATH, json={}, headers={"If-Match": malformed})
        assert answer.faults == {"If-Match": "must be an entity tag, or several with commas between"}


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
async def test_a_time_that_utc_has_no_year_for_is_400(api: Api, date: str) -> None:
    for method in ("PUT", "DELETE"):
        answer = await api.call(method, PATH, json={"dateModified": date})
        assert answer.faults == {"dateModified": "must be within the years 1 to 9999 in UTC"}


async def test_a_time_without_a_zone_is_utc(api: Api) -> None:
    api.requests.on(UpdateNotebook, NOTEBOOK)
    await api.call("PUT", PATH, json={"dateModified": "2024-01-20T10:30:00"})
    expected = datetime(2024, 1, 20, 10, 30, tzinfo=UTC)
    assert api.requests.last(UpdateNotebook).precondition.date_modified == expected


async def test_credential_and_sight_are_within_the_deadline_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "ANSWER_S", 0.05)

    async def never(*_arguments: Any, **_options: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(api.requests, "ask", never)
    for method, path in (("GET", PATH), ("PUT", PATH)):
        role = Role.viewer  # the change waits for sight, before anything is done
        async with asyncio.timeout(20):
            answer = await api.call(method, path, role=role, json={} if method == "PUT" else None)
        assert answer.status == 503
        assert "outcomeUnknown" not in answer.json
    async with asyncio.timeout(20):
        answer = await api.call("PUT", PATH, json={})
    assert answer.json["outcomeUnknown"] is True
    monkeypatch.setattr(api.gateway.authenticator, "principal", never)
    async with asyncio.timeout(20):
        assert (await api.call("DELETE", f"{PATH}/cells/a")).status == 503
    assert not [command for command in api.requests.asked if isinstance(command, DeleteNotebook)]
