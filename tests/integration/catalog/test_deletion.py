"""The end of a notebook, against a real database."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from shared.contracts.base import Idempotency
from shared.contracts.execution_events import NotebookBlocked
from shared.contracts.notebooks import (
    CheckNotebook,
    CreateNotebook,
    DeleteNotebook,
    ExportNotebook,
    GetNotebook,
    Notebook,
    NotebookDraft,
    PinNotebook,
    Precondition,
    ReserveDeletion,
    UpdateNotebook,
)
from shared.errors import Conflict, NotFound
from tests.integration.catalog.conftest import Bench


@pytest.fixture
async def notebook(bench: Bench) -> Notebook:
    draft = NotebookDraft.model_validate({"notebookName": "Short-lived", "template": "blank"})
    created: Notebook = await bench.ask(CreateNotebook, draft=draft)
    return created


async def test_a_deleted_notebook_is_nowhere(bench: Bench, notebook: Notebook) -> None:
    await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={"cells": []})
    await bench.ask(DeleteNotebook, notebook_id=notebook.notebook_id)
    for command in (GetNotebook, PinNotebook, ExportNotebook, CheckNotebook, DeleteNotebook):
        with pytest.raises(NotFound):
            await bench.ask(command, notebook_id=notebook.notebook_id)
    with pytest.raises(NotFound):
        await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={"notebookName": "Alive"})
    facts = await bench.sent.of(notebook.notebook_id, 3)
    assert [fact.type for fact in facts] == ["notebook.created", "notebook.updated", "notebook.deleted"]
    await bench.app.purge.remove_hidden()
    assert set((await bench.rows(notebook.notebook_id)).values()) == {0}


async def test_kept_replies_show_nothing_of_a_deleted_notebook(bench: Bench) -> None:
    draft = NotebookDraft.model_validate({"notebookName": "Secret"})
    key = Idempotency(route="POST notebook", key=str(uuid4()), fingerprint="f")
    command_id = uuid4()
    created: Notebook = await bench.ask(CreateNotebook, draft=draft, idempotency=key, command_id=command_id)
    await bench.ask(UpdateNotebook, notebook_id=created.notebook_id, patch={"notebookName": "Secret too"})
    statement = "SELECT count(*) FROM command_log WHERE position($1::bytea in reply) > 0"
    async with bench.app.database.connection() as connection:
        assert await connection.fetchval(statement, str(created.notebook_id).encode()) == 2
        await bench.ask(DeleteNotebook, notebook_id=created.notebook_id, command_id=(deleting := uuid4()))
        assert await connection.fetchval(statement, str(created.notebook_id).encode()) == 0
        before = await connection.fetchval("SELECT count(*) FROM notebook")
        for repeated in (command_id, uuid4()):  # under the command's id, and under its Idempotency-Key
            with pytest.raises(NotFound, match="What this request made has been deleted"):
                await bench.ask(CreateNotebook, draft=draft, idempotency=key, command_id=repeated)
        await bench.ask(DeleteNotebook, notebook_id=created.notebook_id, command_id=deleting)
        assert await connection.fetchval("SELECT count(*) FROM notebook") == before


async def test_a_stale_precondition_deletes_nothing(bench: Bench, notebook: Notebook) -> None:
    with pytest.raises(Conflict):
        await bench.ask(DeleteNotebook, notebook_id=notebook.notebook_id, precondition=Precondition(etag="other"))
    await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)


async def test_executors_word_deletes_too_and_only_once(bench: Bench, notebook: Notebook) -> None:
    blocked = NotebookBlocked(scope=bench.scope, notebook_id=notebook.notebook_id, changed_by="anna")
    await asyncio.gather(*(bench.hear(blocked) for _ in range(3)))
    with pytest.raises(NotFound):
        await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)
    await bench.app.purge.remove_hidden()
    await bench.hear(blocked)
    facts = await bench.sent.of(notebook.notebook_id, 2)
    assert [fact.type for fact in facts] == ["notebook.created", "notebook.deleted"]
    assert facts[1].causationid is not None


async def test_a_replica_takes_over_what_another_left(bench: Bench, notebook: Notebook) -> None:
    await bench.ask(DeleteNotebook, notebook_id=notebook.notebook_id)
    async with bench.app.database.connection() as connection:  # as a crash between two chunks leaves it
        await connection.execute("DELETE FROM notebook_version WHERE notebook_id = $1", notebook.notebook_id)
    await asyncio.gather(bench.app.purge.remove_hidden(), bench.app.purge.remove_hidden())
    assert set((await bench.rows(notebook.notebook_id)).values()) == {0}


async def test_a_deletion_of_a_state_that_was_seen_keeps_changes_out_until_it_is_given_up(
    bench: Bench, notebook: Notebook
) -> None:
    seen = Precondition(etag=notebook.etag)
    rename: dict[str, Any] = {"notebook_id": notebook.notebook_id, "patch": {"notebookName": "Changed meanwhile"}}
    await bench.ask(ReserveDeletion, notebook_id=notebook.notebook_id, precondition=seen)
    with pytest.raises(Conflict, match="being deleted"):
        await bench.ask(UpdateNotebook, **rename)
    await bench.ask(ReserveDeletion, notebook_id=notebook.notebook_id, release=True)
    await bench.ask(UpdateNotebook, **rename)
    with pytest.raises(Conflict):
        await bench.ask(ReserveDeletion, notebook_id=notebook.notebook_id, precondition=seen)
    await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={"notebookName": "Not reserved"})


async def test_a_reserved_notebook_can_be_read_and_deleted(bench: Bench, notebook: Notebook) -> None:
    await bench.ask(ReserveDeletion, notebook_id=notebook.notebook_id)
    assert (await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)).notebook_name == "Short-lived"
    await bench.ask(DeleteNotebook, notebook_id=notebook.notebook_id)
    with pytest.raises(NotFound):
        await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)
