"""The ways a run goes back to its queue: after a failed attempt, a lost worker, or when a worker is drained."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from services.executor import ending, model, store
from services.executor.ending import Fenced
from services.executor.model import Verdict
from services.executor.store import dumps, queries
from shared.contracts.base import Scope
from shared.contracts.execution_events import AttemptFailed, ExecutionEvent, ExecutionRequeued
from shared.database import Transaction

MESSAGE_LENGTH = 2_000
"""Longest error message in an event, in characters; the status object has all of it."""


async def hand_over(transaction: Transaction, row: asyncpg.Record) -> None:
    """Put a run of a worker that is drained back into its tenant's queue; it counts no attempt. Raises Fenced.

    A run whose cancellation was promised ends instead: nobody might take it any more.
    """
    if row["cancel_requested_at"] is not None:
        await ending.end_as_found(transaction, row, model.CANCELLED)
        return
    again, _ = await _requeue(transaction, row, attempts_back=1)
    event = _requeued(row, reason="the worker is being drained", attempt=again["attempt"])
    await _emit(transaction, row, again["last_seq"], event)


async def requeue_lost(transaction: Transaction, row: asyncpg.Record, verdict: Verdict) -> None:
    """Put a run whose worker was lost back into its tenant's queue, for another attempt. Raises Fenced."""
    again, ended_at = await _requeue(transaction, row, attempts_back=0, verdict=verdict)
    failed = _attempt_failed(row, verdict, ended_at=ended_at, retry_at=ended_at)
    event = _requeued(row, reason="the worker was lost", attempt=again["attempt"])
    await _emit(transaction, row, again["last_seq"], failed, event)


async def retry(
    transaction: Transaction,
    row: asyncpg.Record,
    sequence: int,
    verdict: Verdict,
    wait_s: float,
    *,
    manifest_epoch: int | None = None,
) -> bool:
    """Have a run whose attempt failed wait `wait_s` seconds for the next one, as its policy says.

    `row` is the run as read under its present epoch, `sequence` the number of its last event. Returns False, and
    changes nothing, when the run is no longer the writer's or its cancellation was promised.
    """
    await transaction.row(queries.lock_tenant, row["tenant_id"])
    fresh = model.pending_cells(cell.cell_id for cell in await store.cells(transaction.connection, row["execution_id"]))
    again = await transaction.row(
        queries.retry,
        row["execution_id"],
        row["epoch"],
        sequence,
        dumps(model.Tally(fresh).progress()),
        wait_s,
        manifest_epoch,
        1 if verdict.cause == "lost" else 0,
    )
    if again is None:
        return False
    await store.put_cells(transaction, row["execution_id"], fresh)
    await transaction.execute(queries.remove_draft, row["execution_id"])
    ended_at = await _note_attempt(transaction, row, verdict, again["manifest_epoch"])
    delayed = again["state"] == "Delayed"
    await transaction.execute(queries.count_delayed if delayed else queries.count_requeued, row["tenant_id"])
    events: list[ExecutionEvent] = [_attempt_failed(row, verdict, ended_at=ended_at, retry_at=again["retry_at"])]
    if not delayed:
        events.append(_requeued(row, reason=_reason(again), attempt=again["attempt"]))
    await _emit(transaction, row, again["last_seq"], *events)
    return True


async def requeue_due(transaction: Transaction, execution_id: UUID, tenant_id: UUID) -> None:
    """Put a run whose wait is over into its tenant's queue; one that is not, or has been cancelled, stays as it is."""
    await transaction.row(queries.lock_tenant, tenant_id)
    row = await transaction.row(queries.requeue_due, execution_id)
    if row is not None:
        await transaction.execute(queries.count_due, tenant_id)
        await _emit(transaction, row, row["last_seq"], _requeued(row, reason=_reason(row), attempt=row["attempt"]))


async def _requeue(
    transaction: Transaction, row: asyncpg.Record, *, attempts_back: int, verdict: Verdict | None = None
) -> tuple[asyncpg.Record, datetime]:
    """The step itself, with all cells pending; a lost attempt is noted. Returns the run and when it ended."""
    await transaction.row(queries.lock_tenant, row["tenant_id"])
    cells = await store.cells(transaction.connection, row["execution_id"])
    fresh = model.pending_cells(cell.cell_id for cell in cells)
    again = await transaction.row(
        queries.requeue,
        row["execution_id"],
        row["epoch"],
        row["last_seq"],
        attempts_back,
        dumps(model.Tally(fresh).progress()),
        1 if verdict is None else 2,
    )
    if again is None:
        raise Fenced("The run has been taken over or has ended.")
    await store.put_cells(transaction, row["execution_id"], fresh)
    await transaction.execute(queries.count_requeued, row["tenant_id"])
    ended_at = row["started_at"]
    if verdict is not None:
        # What a lost attempt had registered was never sealed: nobody sees it again.
        ended_at = await _note_attempt(transaction, row, verdict, None)
    return again, ended_at


async def _note_attempt(
    transaction: Transaction, row: asyncpg.Record, verdict: Verdict, manifest_epoch: int | None
) -> datetime:
    """Keep how an attempt ended; returns when it did."""
    ended_at: datetime = await transaction.value(
        queries.insert_attempt,
        row["execution_id"],
        row["attempt"],
        row["started_at"],
        verdict.error_type,
        verdict.error_message,
        verdict.failed_cell,
        manifest_epoch,
    )
    return ended_at


def _reason(row: asyncpg.Record) -> str:
    """Why a run is back in the queue, from its row afterwards."""
    return f"attempt {row['attempt'] + 1} is due"


def _attempt_failed(row: asyncpg.Record, verdict: Verdict, *, ended_at: datetime, retry_at: datetime) -> AttemptFailed:
    message = verdict.error_message
    return AttemptFailed(
        scope=Scope(tenant_id=row["tenant_id"], project_id=row["project_id"]),
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        attempt=row["attempt"],
        started_at=row["started_at"],
        ended_at=ended_at,
        error_type=str(verdict.error_type)[:MESSAGE_LENGTH],
        error_message=message[:MESSAGE_LENGTH] if message else None,
        failed_cell=verdict.failed_cell,
        retry_at=retry_at,
    )


def _requeued(row: asyncpg.Record, *, reason: str, attempt: int) -> ExecutionRequeued:
    return ExecutionRequeued(
        scope=Scope(tenant_id=row["tenant_id"], project_id=row["project_id"]),
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        reason=reason,
        attempt=attempt,
    )


async def _emit(transaction: Transaction, row: asyncpg.Record, last: int, *events: ExecutionEvent) -> None:
    """Publish and keep events, the last of which has number `last`."""
    first = last - len(events) + 1
    envelopes = [
        transaction.emit(event, sequence=number, traceparent=row["traceparent"], correlation=row["correlation_id"])
        for number, event in enumerate(events, start=first)
    ]
    await store.put_events(transaction, row["execution_id"], envelopes)
