"""The one way a run goes back to its queue: after a lost worker, or when a worker is drained."""

from __future__ import annotations

import asyncpg

from services.executor import ending, model, store
from services.executor.ending import Fenced
from services.executor.store import dumps, queries
from shared.contracts.base import Scope
from shared.contracts.execution_events import ExecutionRequeued
from shared.database import Transaction


async def requeue(transaction: Transaction, row: asyncpg.Record, *, reason: str, attempts_back: int) -> None:
    """Put a run back into its tenant's queue with its cells pending; `attempts_back` 1 counts no attempt (drain).

    A run whose cancellation was promised ends instead: nobody might take it any more. Raises Fenced.
    """
    if row["cancel_requested_at"] is not None:
        await ending.end_as_found(transaction, row, model.CANCELLED)
        return
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
    )
    if again is None:
        raise Fenced("The run has been taken over or has ended.")
    await store.put_cells(transaction, row["execution_id"], fresh)
    await transaction.execute(queries.count_requeued, row["tenant_id"])
    envelope = transaction.emit(
        ExecutionRequeued(
            scope=Scope(tenant_id=row["tenant_id"], project_id=row["project_id"]),
            execution_id=row["execution_id"],
            notebook_id=row["notebook_id"],
            reason=reason,
            attempt=again["attempt"],
        ),
        sequence=again["last_seq"],
        traceparent=row["traceparent"],
        correlation=row["correlation_id"],
    )
    await store.put_events(transaction, row["execution_id"], [envelope])
