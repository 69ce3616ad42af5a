"""The notebook of a run that goes on: control asks the run's worker through the database and answers what it gets."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import orjson

from services.executor import model, store
from services.executor.handlers.planning import snapshot_of
from services.executor.store import queries
from shared.contracts.executions import ExecutionNotebook, GetExecutionNotebook
from shared.errors import NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp

PATIENCE_S = 2.0
"""How long a reader waits for the worker to write; then the draft before serves, or the notebook without outputs."""

POLL_S = 0.05
"""Pause between two looks for the worker's answer, in seconds."""

FILE_NAME = "notebook.ipynb"


async def get_execution_notebook(
    app: ControlApp, command: GetExecutionNotebook, _context: Context
) -> ExecutionNotebook:
    """What there is of the run's notebook: with outputs while a worker has it, without before and after."""
    async with app.database.connection() as connection:
        await store.find(connection, command.scope, command.execution_id, command.notebook_id)
        pinned, _ = snapshot_of(await connection.fetchrow(queries.snapshot, command.execution_id))
        asked_at = await connection.fetchval(queries.ask_for_draft, command.execution_id)
    if asked_at is not None:
        await app.broker.publish_nudge()
    found = await _draft(app, command.execution_id, asked_at)
    ended = found["state"] in model.ENDED
    content = pinned.content if found["notebook"] is None else orjson.loads(found["notebook"])
    return ExecutionNotebook(file_name=FILE_NAME, content=content, ended=ended)


async def _draft(app: ControlApp, execution_id: UUID, asked_at: datetime | None) -> asyncpg.Record:
    """The draft's row: as new as `asked_at`, or as it is when patience is over or the run has moved on."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        async with app.database.connection() as connection:
            row = await connection.fetchrow(queries.draft, execution_id)
        if row is None:
            raise NotFound("There is no such execution.")
        fresh = asked_at is not None and row["made_at"] is not None and row["made_at"] >= asked_at
        if fresh or row["state"] not in model.ACTIVE or time.monotonic() >= give_up:
            return row
        await asyncio.sleep(POLL_S)
