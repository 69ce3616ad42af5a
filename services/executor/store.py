"""The executor's tables: reads, and the writes that several handlers share. Nothing here commits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import orjson
from pydantic import BaseModel

from services.executor import model, views
from services.executor.settings import ExecutorSettings
from shared import cursors
from shared.contracts.base import Scope
from shared.contracts.executions import CellResult, Execution, Quota, RunLimits
from shared.contracts.retries import Attempt
from shared.database import Database, Transaction
from shared.envelope import Envelope
from shared.errors import NotFound
from shared.sql import Queries

if TYPE_CHECKING:
    from services.executor.environments.preparing import Prepared

MEGABYTE = 1_000_000
"""Unit of settings that end in MB, in bytes."""

queries = Queries(Path(__file__).with_name("queries.sql"))


def dumps(value: Any) -> str:
    """JSON text for a `json` column."""
    if isinstance(value, BaseModel):
        return value.model_dump_json(by_alias=True)
    return orjson.dumps(value).decode()


async def find(
    connection: asyncpg.Connection, scope: Scope, execution_id: UUID, notebook_id: UUID | None
) -> asyncpg.Record:
    """A run's row; raises NotFound."""
    row = await connection.fetchrow(queries.find, execution_id, scope.tenant_id, scope.project_id, notebook_id)
    if row is None:
        raise NotFound("There is no such execution.")
    return row


async def view(connection: asyncpg.Connection, row: asyncpg.Record, settings: ExecutorSettings) -> Execution:
    """The status object of a row."""
    return (await view_all(connection, [row], settings))[0]


async def view_all(
    connection: asyncpg.Connection, rows: Sequence[asyncpg.Record], settings: ExecutorSettings
) -> list[Execution]:
    """The status objects of rows of one tenant, cells included, in their order."""
    cells: dict[UUID, list[CellResult]] = {row["execution_id"]: [] for row in rows}
    for record in await connection.fetch(queries.cells_of, list(cells)):
        cells[record["execution_id"]].append(views.cell(CellResult.model_validate_json(record["result"])))
    attempts: dict[UUID, list[Attempt]] = {row["execution_id"]: [] for row in rows if views.has_earlier_attempts(row)}
    if attempts:
        for record in await connection.fetch(queries.attempts_of, list(attempts)):
            attempts[record["execution_id"]].append(views.earlier_attempt(record))
    waiting = [row["tenant_id"] for row in rows if row["state"] == "Queued"]
    reason = model.reason_to_wait(await _queue(connection, waiting[0], settings)) if waiting else None
    found = []
    for row in rows:
        position = None
        if row["state"] == "Queued":
            position = await connection.fetchval(
                queries.queue_position, row["tenant_id"], row["priority"], row["accepted_at"]
            )
        earlier = attempts.get(row["execution_id"], [])
        found.append(views.execution(row, cells[row["execution_id"]], position, reason, earlier))
    return found


async def _queue(connection: asyncpg.Connection, tenant_id: UUID, settings: ExecutorSettings) -> model.Queue:
    row = await connection.fetchrow(queries.queue, tenant_id, settings.max_active_runs, settings.reserved_slots_share)
    return model.Queue(
        active=row["active"],
        max_active=row["max_active"],
        workers=row["workers"],
        free_slots=row["free"],
        reserved_slots=int(row["reserved"]),
    )


async def quota(connection: asyncpg.Connection, tenant_id: UUID, settings: ExecutorSettings) -> Quota:
    """The numbers in force for a tenant."""
    row = await connection.fetchrow(queries.quota, tenant_id)
    own = dict(row) if row is not None else {"max_active": None, "max_queued": None, "active": 0, "queued": 0}
    return Quota(
        max_active=settings.max_active_runs if own["max_active"] is None else own["max_active"],
        max_queued=settings.max_queued_runs if own["max_queued"] is None else own["max_queued"],
        active=own["active"],
        queued=own["queued"],
        run=run_limits(settings),
    )


def run_limits(settings: ExecutorSettings) -> RunLimits:
    """What one run may use."""
    return RunLimits(
        memory_bytes=settings.kernel_memory_mb * MEGABYTE,
        processes=settings.kernel_processes,
        open_files=settings.kernel_open_files,
        file_bytes=settings.kernel_file_mb * MEGABYTE,
        disk_bytes=settings.kernel_disk_mb * MEGABYTE,
        files=settings.kernel_files,
        cpu_seconds=settings.kernel_cpu_seconds,
        processors=settings.kernel_processors,
    )


async def cells(connection: asyncpg.Connection, execution_id: UUID) -> list[CellResult]:
    """A run's cells in order."""
    return cells_of(await connection.fetch(queries.cells_of, [execution_id]))


def cells_of(rows: Iterable[asyncpg.Record]) -> list[CellResult]:
    """Cells as `queries.cells_of` gives them."""
    return [CellResult.model_validate_json(row["result"]) for row in rows]


async def put_cells(transaction: Transaction, execution_id: UUID, results: Iterable[CellResult]) -> None:
    """Replace the results of some cells."""
    changed = list(results)
    if changed:
        await transaction.execute(
            queries.put_cells,
            execution_id,
            [result.cell_id for result in changed],
            [dumps(result) for result in changed],
        )


async def put_environment(database: Database, environment: Prepared) -> None:
    """Keep what an environment is made of, once for all runs in it."""
    async with database.connection() as connection:
        await connection.execute(
            queries.put_environment,
            environment.environment_id,
            environment.source,
            environment.python_version,
            environment.lock,
        )


async def put_events(transaction: Transaction, execution_id: UUID, envelopes: Sequence[Envelope]) -> None:
    """Keep facts under their sequence numbers, for replay."""
    await transaction.execute(
        queries.insert_events,
        execution_id,
        [envelope.sequence for envelope in envelopes],
        [envelope.encode() for envelope in envelopes],
    )


def cursor_of(row: asyncpg.Record) -> str:
    """An opaque mark after which the next page begins."""
    return cursors.cursor(row["accepted_at"], row["execution_id"])


def read_cursor(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    """The key inside a cursor; raises Invalid for one that we did not make."""
    if cursor is None:
        return None, None
    accepted_at, execution_id = cursors.place(cursor, datetime, UUID)
    return accepted_at, execution_id
