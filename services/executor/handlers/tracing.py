"""Lineage as far as control knows it: which runs read which dataset version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from services.executor import model, store
from services.executor.store import queries
from shared.contracts.lineage import RunTrace, RunTracePage, TraceDataset, TraceExecution
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp


async def trace_execution(app: ControlApp, command: TraceExecution, _context: Context) -> RunTrace:
    """What the run read; raises NotFound."""
    async with app.database.connection() as connection:
        return _trace(await store.find(connection, command.scope, command.execution_id, command.notebook_id))


async def trace_dataset(app: ControlApp, command: TraceDataset, _context: Context) -> RunTracePage:
    """A page of the runs that read a dataset; none for one that nobody read or that never was."""
    who = (command.scope.tenant_id, command.scope.project_id, command.dataset_id, command.version)
    after, after_id = store.read_cursor(command.cursor)
    offset = 0 if command.cursor else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        total = await connection.fetchval(queries.count_runs_on_dataset, *who)
        rows = await connection.fetch(queries.runs_on_dataset, *who, after, after_id, command.page_size + 1, offset)
    shown = rows[: command.page_size]
    more = len(rows) > len(shown)
    return RunTracePage(
        runs=[_trace(row) for row in shown],
        total_count=total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=more,
        next_cursor=store.cursor_of(shown[-1]) if more else None,
    )


def _trace(row: asyncpg.Record) -> RunTrace:
    return RunTrace(
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        notebook_version=row["notebook_version"],
        dataset_id=row["dataset_id"],
        dataset_version=row["dataset_version"],
        status=model.status_of(row["state"]),
        start_time=row["accepted_at"],
        end_time=row["ended_at"],
        epoch=row["manifest_epoch"],
    )
