"""How notebook calls become commands: create, upload, read, delete."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from services.gateway.routes import notebooks
from shared.contracts.base import Nothing
from shared.contracts.executions import (
    BasePython,
    BlockNotebook,
    CellActivity,
    GetBasePython,
    GetNotebookActivity,
    NotebookActivity,
    StartExecution,
)
from shared.contracts.notebooks import (
    AddCell,
    CheckNotebook,
    CreateNotebook,
    DeleteNotebook,
    GetNotebook,
    ImportNotebook,
    ListNotebooks,
    NotebookPage,
    NotebookState,
    ReserveDeletion,
    UpdateNotebook,
)
from shared.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from tests.unit.gateway.fake_ports import BASE, DATASET, NOTEBOOK, PROJECT, RUNNING, Api

PATH = f"notebook/{NOTEBOOK.notebook_id}"
IPYNB = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}).encode()


def form(*parts: tuple[str, Any], file: bytes | None = IPYNB, file_first: bool = False) -> aiohttp.FormData:
    data = aiohttp.FormData()
    if file is not None and file_first:
        data.add_field("file", file, filename="analysis.ipynb", content_type="application/json")
    for name, value in parts:
        data.add_field(name, value)
    if file is not None and not file_first:
        data.add_field("file", file, filename="analysis.ipynb", content_type="image/png")
    if file is None:
        data.add_field("notebookName", "so that it is multipart", filename=None, content_type="text/plain")
    return data


async def test_create_answers_where_it_is_and_which_state(api: Api) -> None:
    api.requests.on(CreateNotebook, NOTEBOOK)
    answer = await api.call("POST", "notebook", json={"notebookName": " n "})
    assert answer.status == 201
    assert answer.headers["Location"].endswith(f"{BASE}/{PATH}")
    assert answer.headers["ETag"] == f'"{NOTEBOOK.etag}"'
    assert api.requests.last(CreateNotebook).draft.notebook_name == "n"


@pytest.mark.parametrize("file_first", [False, True])
async def test_the_parts_of_an_upload_come_in_any_order_and_type(api: Api, file_first: bool) -> None:
    api.requests.on(ImportNotebook, NOTEBOOK)
    fields = [("notebookName", "J"), ("enrichmentMode", "TRUE"), ("datasetBinding", ""), ("kernelType", "r")]
    answer = await api.call("POST", "notebook/upload", data=form(*fields, file_first=file_first))
    assert answer.status == 201
    command = api.requests.last(ImportNotebook)
    assert (command.notebook_name, command.kernel_type, command.file_name) == ("J", "r", "analysis.ipynb")
    assert command.integration.enrichment_mode is True
    assert command.integration.dataset_binding is None
    assert command.file == IPYNB.decode()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (gzip.compress(b"\0" * 1_000_000, mtime=0), "is compressed (gzip); upload the notebook itself"),
        (b'{"a": "\xff"}', "is not UTF-8 text: the byte at position 7 is wrong"),
        (b"print(1)\x00", "contains the NUL character"),
        (b"[" * 50_000 + b"]" * 50_000, "is nested deeper than 100 levels"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "is nested deeper than 100 levels"),
    ],
)
async def test_a_file_that_nobody_should_parse_is_refused(api: Api, file: bytes, message: str) -> None:
    answer = await api.call("POST", "notebook/upload", data=form(file=file))
    assert answer.status == 400
    assert answer.faults == {"file": message}
    assert not api.requests.asked


async def test_brackets_in_a_script_are_no_nesting(api: Api) -> None:
    api.requests.on(ImportNotebook, NOTEBOOK)
    script = b"# %%\n" + b"(" * 10 + b"[" * 300
    assert (await api.call("POST", "notebook/upload", data=form(file=script))).status == 201


async def test_a_file_over_the_limit_is_413_and_nothing_is_asked(api: Api) -> None:
    answer = await api.call("POST", "notebook/upload", data=form(file=b"x" * 200_001))
    assert answer.status == 413
    assert "200,000" in answer.json["detail"]
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.ipynb"\r\n\r\n'
    far_over = await api.call(
        "POST",
        "notebook/upload",
        data=io.BytesIO(head + b"x" * 2_000_000 + b"\r\n--b--\r\n"),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert far_over.status == 413
    assert not api.requests.asked


async def test_wrong_fields_and_a_missing_file_are_told_together(api: Api) -> None:
    answer = await api.call(
        "POST", "notebook/upload", data=form(("enrichmentMod", "true"), ("kernelType", "x"), file=None)
    )
    assert answer.faults == {
        "enrichmentMod": "is not known; did you mean enrichmentMode?",
        "kernelType": "must be 'python3', 'r' or 'scala'",
        "file": "is required",
    }


FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.py"\r\n\r\n1\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n{}", 400),
        ("multipart/form-data; boundary=b", b"nothing of the kind", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b"\r\n" * 1_000 + FORM, 400),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"a: b\r\n" * 20 + FORM.removeprefix(b"--b\r\n"), 400),
    ],
)
async def test_a_form_that_is_none_is_refused(api: Api, content_type: str, body: bytes, status: int) -> None:
    answer = await api.call("POST", "notebook/upload", data=body, headers={"Content-Type": content_type})
    assert answer.status == status
    assert not api.requests.asked


async def test_the_newest_word_of_executor_wins_over_the_projection(api: Api) -> None:
    ended = datetime(2024, 2, 1, tzinfo=UTC)
    cell = CellActivity(execution_count=3, has_output=True, last_executed=ended, execution_status="Error")
    api.requests.on(GetNotebook, NOTEBOOK)
    api.requests.on(
        GetNotebookActivity,
        NotebookActivity(status="Error", execution_count=48, last_execution_date=ended, cells={"cell-001": cell}),
    )
    answer = await api.call("GET", PATH)
    assert answer.headers["ETag"] == f'"{NOTEBOOK.etag}"'
    assert (answer.json["status"], answer.json["executionCount"]) == ("Error", 48)
    assert answer.json["lastExecutionDate"] == "2024-02-01T00:00:00.000Z"
    assert answer.json["cells"][0]["executionStatus"] == "Error"
    assert answer.json["cells"][0]["content"] == NOTEBOOK.cells[0].content


async def test_a_notebook_shows_the_python_that_it_runs_on(api: Api) -> None:
    environment = NOTEBOOK.environment.model_copy(update={"python_version": None})
    api.requests.on(GetNotebook, NOTEBOOK.model_copy(update={"environment": environment}))
    api.requests.on(UpdateNotebook, NOTEBOOK.model_copy(update={"environment": environment}))
    api.requests.on(GetBasePython, BasePython(python_version="3.11.2"))
    shown = (await api.call("GET", PATH)).json["environment"]
    assert shown["pythonVersion"] == "3.11.2"
    changed = await api.call("PUT", PATH, json={"environment": shown})
    assert changed.json["environment"]["pythonVersion"] == "3.11.2"
    assert api.requests.last(UpdateNotebook).shown_python == "3.11.2"
    assert sum(isinstance(asked, GetBasePython) for asked in api.requests.asked) == 1  # the answer is kept


async def test_the_projection_serves_while_executor_is_down(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.requests.on(GetNotebook, NOTEBOOK)
    api.requests.on(GetNotebookActivity, Unavailable("Executor is away."))
    assert (await api.call("GET", PATH)).json["executionCount"] == 47


async def test_a_silent_executor_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "ACTIVITY_PATIENCE_S", 0.05)
    ask = api.requests.ask

    async def slow(command: Any, **more: Any) -> Any:
        if isinstance(command, GetNotebookActivity):
            await asyncio.Event().wait()
        return await ask(command, **more)

    monkeypatch.setattr(api.requests, "ask", slow)
    api.requests.on(GetNotebook, NOTEBOOK)
    async with asyncio.timeout(5):
        assert (await api.call("GET", PATH)).json["executionCount"] == 47


async def test_the_projects_own_id_lists_its_notebooks(api: Api) -> None:
    api.requests.on(ListNotebooks, NotebookPage(notebooks=[], total_count=0, page=1, page_size=20, has_next_page=False))
    answer = await api.call("GET", f"notebook/{PROJECT}?page=2&search=x")
    assert answer.json["notebooks"] == []
    asked = api.requests.last(ListNotebooks)
    assert (asked.page, asked.search) == (2, "x")
    assert set((await api.call("GET", f"{PATH}?page=2&sort=dateCreated")).faults) == {"page", "sort"}


def commands(api: Api) -> list[str]:
    return [type(command).__name__ for command in api.requests.asked]


async def test_delete_asks_catalog_then_executor_then_catalog(api: Api) -> None:
    api.requests.on(CheckNotebook, NotebookState())
    for command in (BlockNotebook, DeleteNotebook):
        api.requests.on(command, Nothing())
    answer = await api.call("DELETE", f"{PATH}?force=TRUE")
    assert (answer.status, answer.body) == (204, b"")
    assert commands(api) == ["CheckNotebook", "BlockNotebook", "DeleteNotebook"]
    assert api.requests.last(BlockNotebook).force is True


async def test_delete_of_a_certain_state_keeps_changes_out_from_the_first_step_on(api: Api) -> None:
    for command in (ReserveDeletion, BlockNotebook, DeleteNotebook):
        api.requests.on(command, Nothing())
    assert (await api.call("DELETE", PATH, headers={"If-Match": '"e"'})).status == 204
    assert commands(api) == ["ReserveDeletion", "BlockNotebook", "DeleteNotebook"]
    assert api.requests.last(ReserveDeletion).precondition.etag == "e"


async def test_a_delete_that_is_refused_lets_changes_in_again(api: Api) -> None:
    api.requests.on(ReserveDeletion, Nothing())
    api.requests.on(BlockNotebook, Conflict("A run has not ended."))
    assert (await api.call("DELETE", PATH, headers={"If-Match": '"e"'})).status == 409
    assert [command.release for command in api.requests.asked if isinstance(command, ReserveDeletion)] == [False, True]


async def test_delete_stops_at_the_first_refusal(api: Api) -> None:
    api.requests.on(CheckNotebook, NotebookState())
    api.requests.on(BlockNotebook, Conflict("A run has not ended."))
    assert (await api.call("DELETE", PATH)).status == 409
    assert "DeleteNotebook" not in commands(api)
    api.requests.on(CheckNotebook, NotFound("No such notebook."))
    assert (await api.call("DELETE", PATH)).status == 404


@pytest.mark.parametrize("error", [Unavailable("Away."), OutcomeUnknown("Away.")])
async def test_a_delete_that_will_be_finished_later_says_so(api: Api, error: Exception) -> None:
    api.requests.on(CheckNotebook, NotebookState())
    api.requests.on(BlockNotebook, Nothing())
    api.requests.on(DeleteNotebook, error)
    answer = await api.call("DELETE", PATH)
    assert (answer.status, answer.json["outcomeUnknown"]) == (409, True)


async def test_a_forced_delete_that_gave_up_halfway_does_not_claim_to_have_had_no_effect(api: Api) -> None:
    api.requests.on(CheckNotebook, NotebookState())
    api.requests.on(BlockNotebook, Unavailable("Runs are being stopped.", extra={"outcomeUnknown": True}))
    halfway = await api.call("DELETE", f"{PATH}?force=true")
    assert (halfway.status, halfway.json["outcomeUnknown"]) == (409, True)
    assert halfway.json["type"] == "/docs#outcome_unknown"
    api.requests.on(BlockNotebook, Unavailable("Away."))
    assert "outcomeUnknown" not in (await api.call("DELETE", f"{PATH}?force=true")).json


async def test_a_delete_that_the_event_finished_first_is_done(api: Api) -> None:
    api.requests.on(CheckNotebook, NotebookState())
    api.requests.on(BlockNotebook, Nothing())
    api.requests.on(DeleteNotebook, NotFound("Gone."))
    assert (await api.call("DELETE", PATH)).status == 204


async def test_the_body_may_say_which_state_is_expected(api: Api) -> None:
    for command in (ReserveDeletion, BlockNotebook, DeleteNotebook):
        api.requests.on(command, Nothing())
    await api.call("DELETE", PATH, json={"dateModified": "2024-01-20T10:30:00Z"})
    assert api.requests.last(ReserveDeletion).precondition.date_modified == datetime(2024, 1, 20, 10, 30, tzinfo=UTC)
    assert (await api.call("DELETE", PATH, json={"dateModified": "yesterday"})).status == 400
    await api.call("DELETE", PATH, headers={"If-Match": "*"}, json={"etag": "ignored"})
    assert api.requests.last(CheckNotebook).precondition.etag is None


async def test_a_key_stands_for_the_decoded_content(api: Api) -> None:
    api.requests.on(CreateNotebook, NOTEBOOK)
    headers = {"Idempotency-Key": "k-1", "Content-Type": "application/json"}

    async def fingerprint(body: str) -> Any:
        assert (await api.call("POST", "notebook", data=body, headers=headers)).status == 201
        return api.requests.last(CreateNotebook).idempotency

    plain = await fingerprint('{"notebookName": "n", "kernelType": "python3"}')
    same = await fingerprint('{ "kernelType":null, "notebookName":"\\u006e" }')
    other = await fingerprint('{"notebookName": "m"}')
    assert plain == same
    assert (plain.key, plain.route) == (other.key, other.route)
    assert plain.fingerprint != other.fingerprint


async def test_keys_of_two_notebooks_callers_or_calls_do_not_meet(api: Api) -> None:
    from services.gateway.model import Role

    api.requests.on(StartExecution, RUNNING)
    api.requests.on(AddCell, NOTEBOOK)
    headers = {"Idempotency-Key": "k-1"}
    routes = set()
    for path, role in ((PATH, Role.admin), (PATH, Role.editor), (f"notebook/{DATASET.dataset_id}", Role.admin)):
        await api.call("POST", f"{path}/execute", headers=headers, role=role)
        routes.add(api.requests.last(StartExecution).idempotency.route)
    await api.call("POST", f"{PATH}/blocks", headers=headers, json={"cellType": "code"})
    routes.add(api.requests.last(AddCell).idempotency.route)
    assert len(routes) == 4


async def test_an_upload_is_compared_by_fields_and_file(api: Api) -> None:
    api.requests.on(ImportNotebook, NOTEBOOK)

    async def fingerprint(data: aiohttp.FormData) -> str:
        answer = await api.call("POST", "notebook/upload", data=data, headers={"Idempotency-Key": "k"})
        assert answer.status == 201
        return str(api.requests.last(ImportNotebook).idempotency.fingerprint)

    first = await fingerprint(form(("notebookName", "J"), ("enrichmentMode", "true")))
    reordered = await fingerprint(form(("enrichmentMode", "TRUE"), ("notebookName", "J"), file_first=True))
    other_file = await fingerprint(form(("notebookName", "J"), ("enrichmentMode", "true"), file=IPYNB + b" "))
    assert first == reordered
    assert first != other_file


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
async def test_a_key_that_is_none_is_400(api: Api, key: str) -> None:
    answer = await api.call("POST", "notebook", json={"notebookName": "n"}, headers={"Idempotency-Key": key})
    assert answer.status == 400
    assert set(answer.faults) == {"Idempotency-Key"}
