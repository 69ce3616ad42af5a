"""What executor's facts say about notebooks, for lists and filters: idempotent, and indifferent to their order.

A run's facts are numbered; one counts only when its number is higher than the last one heard of that run. Between
runs, the end decides: a notebook is what the run that ended last left behind, unless one has not ended (DESIGN.md
decision 9).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from services.catalog.automation import triggers
from services.catalog.automation.fires import queries as automatic
from services.catalog.store import queries
from shared.contracts.execution_events import (
    ExecutionEnded,
    ExecutionEvent,
    ExecutionPurged,
    ExecutionQueued,
    ExecutionStarted,
)
from shared.database import Transaction
from shared.envelope import Envelope, Undecodable

if TYPE_CHECKING:
    from services.catalog.app import Catalog


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What a fact says of its run."""

    accepted_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    notebook_status: str | None = None


async def on_execution_queued(app: Catalog, event: ExecutionQueued, envelope: Envelope) -> None:
    """The notebook is running from the moment a run is accepted."""
    async with _notebook(app, event, envelope) as transaction:
        if transaction is not None:
            await _hear(transaction, event, envelope, _Run(accepted_at=event.accepted_at))


async def on_execution_started(app: Catalog, event: ExecutionStarted, envelope: Envelope) -> None:
    """As queued; for a reader that joined late it is the first word of the run."""
    accepted_at = event.started_at - timedelta(seconds=event.queued_seconds)
    async with _notebook(app, event, envelope) as transaction:
        if transaction is not None:
            await _hear(transaction, event, envelope, _Run(accepted_at=accepted_at))


async def on_execution_ended(app: Catalog, event: ExecutionEnded, envelope: Envelope) -> None:
    """The run's outcome becomes the notebook's state, and its cells' outcomes those of the notebook's cells."""
    run = _Run(
        accepted_at=event.accepted_at,
        ended_at=event.ended_at,
        outcome=event.status,
        notebook_status=event.notebook_status,
    )
    to_send = False
    async with _notebook(app, event, envelope) as transaction:
        if transaction is not None and await _hear(transaction, event, envelope, run):
            cells = list(event.cells.items())
            await transaction.execute(
                queries.tell_cells,
                event.notebook_id,
                event.ended_at,
                [cell_id for cell_id, _ in cells],
                [cell.execution_count for _, cell in cells],
                [cell.has_output for _, cell in cells],
                [cell.last_executed for _, cell in cells],
                [cell.execution_status for _, cell in cells],
            )
            to_send = await transaction.execute(automatic.hurry, event.notebook_id) > 0
            if event.status == "Completed":
                to_send |= await triggers.on_completed(transaction, event.notebook_id)
    if to_send:
        app.starter.wake()


async def on_execution_purged(app: Catalog, event: ExecutionPurged, envelope: Envelope) -> None:
    """The run decides no state any more, and late facts do not bring it back; the number of runs does not fall."""
    async with _notebook(app, event, envelope) as transaction:
        if transaction is None:
            return
        row = await transaction.row(queries.forget_run, event.execution_id, event.notebook_id)
        if row is not None:
            await transaction.execute(queries.refresh_state, event.notebook_id, 1 if row["is_new"] else 0)


@asynccontextmanager
async def _notebook(
    app: Catalog, event: ExecutionEvent | ExecutionPurged, envelope: Envelope
) -> AsyncIterator[Transaction | None]:
    """A transaction that holds the notebook; None when it is hidden or gone, and the fact means nothing any more."""
    async with app.database.transaction(cause=envelope) as transaction:
        scope = event.scope
        row = await transaction.row(queries.lock_for_run, event.notebook_id, scope.tenant_id, scope.project_id)
        yield transaction if row is not None else None


async def _hear(transaction: Transaction, event: ExecutionEvent, envelope: Envelope, run: _Run) -> bool:
    """Write down what a fact says; False when a later one of this run has been heard."""
    if envelope.sequence is None:
        raise Undecodable("a run's fact has no sequence number")
    row = await transaction.row(
        queries.hear_of_run,
        event.execution_id,
        event.notebook_id,
        envelope.sequence,
        run.ended_at is None,
        run.accepted_at,
        run.ended_at,
        run.outcome,
        run.notebook_status,
    )
    if row is None:
        return False
    await transaction.execute(queries.refresh_state, event.notebook_id, 1 if row["is_new"] else 0)
    return True
