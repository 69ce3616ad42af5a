"""A forced deletion whose executions do not end in time says that it had an effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.executor.handlers import stopping
from shared.contracts.base import Caller, Scope
from shared.contracts.executions import BlockNotebook
from shared.errors import Conflict, DeadlineExceeded, Unavailable

RUN = {"execution_id": uuid4()}


class Notebook:
    """A notebook whose one execution goes on; stands for the database, a transaction and what runs on them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sql = self.database = self
        self.error = error
        self.cancelled: list[UUID] = []
        self.deadline = datetime.now(UTC) + timedelta(seconds=stopping.REPLY_MARGIN_S + 0.2)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        yield self

    connection = transaction

    async def row(self, *_arguments: object) -> dict[str, None]:
        return {"blocked_at": None}

    async def execute(self, *_arguments: object) -> int:
        return 1

    async def fetch(self, *_arguments: object) -> list[dict[str, UUID]]:
        if self.cancelled and self.error is not None:
            raise self.error
        return [RUN]


async def block(notebook: Notebook, monkeypatch: pytest.MonkeyPatch, *, force: bool) -> Exception:
    async def cancel_all(app: Any, execution_ids: list[UUID]) -> None:
        app.cancelled += execution_ids

    monkeypatch.setattr(stopping, "cancel_all", cancel_all)
    command = BlockNotebook(
        scope=Scope(tenant_id=uuid4(), project_id=uuid4()),
        caller=Caller(subject="someone"),
        notebook_id=uuid4(),
        force=force,
    )
    app: Any = notebook
    context: Any = SimpleNamespace(transaction=notebook.transaction, deadline=notebook.deadline)
    with pytest.raises((Conflict, Unavailable, DeadlineExceeded)) as raised:
        await stopping.block_notebook(app, command, context)
    return raised.value


@pytest.mark.parametrize("error", [None, Unavailable("The database is away."), DeadlineExceeded("Too late.")])
async def test_what_gives_up_after_cancelling_had_an_effect(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    notebook = Notebook(error)
    told = await block(notebook, monkeypatch, force=True)
    assert isinstance(told, Unavailable)
    assert told.extra == {"outcomeUnknown": True}
    assert set(notebook.cancelled) == {RUN["execution_id"]}


async def test_without_force_nothing_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook()
    told = await block(notebook, monkeypatch, force=False)
    assert isinstance(told, Conflict)
    assert notebook.cancelled == []
