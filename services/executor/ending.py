"""The one way a run ends: state, cells, counters, notebook and the terminal fact in a single fenced transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from services.executor import model, store
from services.executor.model import Verdict
from services.executor.store import dumps, queries
from shared.contracts.base import Scope
from shared.contracts.execution_events import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEnded,
    ExecutionFailed,
)
from shared.contracts.executions import CellActivity, CellResult, OutputCounts, Progress, Resources
from shared.database import Transaction
from shared.errors import AtelierError

EVENT_OF: dict[str, type[ExecutionEnded]] = {
    "Completed": ExecutionCompleted,
    "Error": ExecutionFailed,
    "Cancelled": ExecutionCancelled,
}


class Fenced(AtelierError):
    """The run is no longer the writer's: another epoch, or it has ended."""

    kind = "conflict"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Everything the terminal commit records."""

    verdict: Verdict
    changed_cells: Sequence[CellResult]
    all_cells: Sequence[CellResult]
    progress: Progress
    outputs: OutputCounts = field(default_factory=OutputCounts)
    resources: Resources = field(default_factory=Resources)
    manifest_epoch: int | None = None
    warnings: list[str] | None = None


async def end(transaction: Transaction, row: asyncpg.Record, sequence: int, ending: Ending) -> asyncpg.Record:
    """End the run of `row` (as read under its present epoch), whose last fact had number `sequence`.

    Takes the locks itself, in order. A run whose cancellation was promised ends as cancelled, however far it came.
    Raises Fenced when the run has moved on.
    """
    await transaction.row(queries.lock_notebook, row["notebook_id"], row["tenant_id"], row["project_id"])
    await transaction.row(queries.lock_tenant, row["tenant_id"])
    ended = await _end_as(transaction, row, sequence, ending)
    if ended is None and ending.verdict.state != "Cancelled":
        progress = model.Tally(list(ending.all_cells)).progress()
        ending = replace(ending, verdict=model.CANCELLED, progress=progress)
        ended = await _end_as(transaction, row, sequence, ending)
    if ended is None:
        raise Fenced("The run has been taken over or has ended.")
    verdict = ending.verdict
    await transaction.execute(queries.remove_draft, row["execution_id"])
    await store.put_cells(transaction, row["execution_id"], ending.changed_cells)
    # The state is still that of `row`: whatever changes it raises the last number, which the fence has compared.
    queued, delayed = row["state"] == "Queued", row["state"] == "Delayed"
    active = not (queued or delayed)
    await transaction.execute(queries.count_ended, row["tenant_id"], int(active), int(queued), int(delayed))
    activity = await _note_on_notebook(transaction, ended, ending)
    event = EVENT_OF[verdict.state](
        scope=Scope(tenant_id=row["tenant_id"], project_id=row["project_id"]),
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        notebook_version=row["notebook_version"],
        status=model.status_of(verdict.state),
        accepted_at=row["accepted_at"],
        ended_at=ended["ended_at"],
        total_duration_seconds=_duration(ended["started_at"], ended["ended_at"]),
        progress=ending.progress,
        outputs=ending.outputs,
        resources=ending.resources,
        error_type=verdict.error_type,
        error_message=verdict.error_message,
        failed_cell=verdict.failed_cell,
        notebook_status=verdict.notebook_status,
        cells=activity,
    )
    envelope = transaction.emit(
        event, sequence=ended["last_seq"], traceparent=row["traceparent"], correlation=row["correlation_id"]
    )
    await store.put_events(transaction, row["execution_id"], [envelope])
    return ended


async def end_as_found(transaction: Transaction, row: asyncpg.Record, verdict: Verdict) -> asyncpg.Record:
    """End a run that no worker of ours drives, with its cells as the database has them. Raises Fenced."""
    tally = model.Tally(await store.cells(transaction.connection, row["execution_id"]))
    changed = tally.leave_rest("Cancelled" if verdict.state == "Cancelled" else "Skipped")
    ending = Ending(verdict=verdict, changed_cells=changed, all_cells=tally.results, progress=tally.progress())
    return await end(transaction, row, row["last_seq"], ending)


async def _end_as(
    transaction: Transaction, row: asyncpg.Record, sequence: int, ending: Ending
) -> asyncpg.Record | None:
    """The terminal step itself; None when the fence refuses it."""
    verdict = ending.verdict
    return await transaction.row(
        queries.end_execution,
        row["execution_id"],
        row["epoch"],
        sequence,
        verdict.state,
        dumps(ending.progress),
        dumps(ending.outputs),
        dumps(ending.resources),
        verdict.error_type,
        verdict.error_message,
        verdict.failed_cell,
        ending.manifest_epoch,
        None if ending.warnings is None else dumps(ending.warnings),
    )


async def _note_on_notebook(transaction: Transaction, ended: asyncpg.Record, ending: Ending) -> dict[str, CellActivity]:
    """The notebook follows the run that ended last; a cell that did not run keeps what it had."""
    kept: dict[str, Any] = orjson.loads(await transaction.value(queries.cells_of_notebook, ended["notebook_id"]))
    activity = {
        result.cell_id: CellActivity(
            execution_count=result.execution_count,
            has_output=result.has_output,
            last_executed=result.end_time or kept.get(result.cell_id, {}).get("lastExecuted"),
            execution_status=result.status,
        )
        for result in ending.all_cells
        if result.start_time is not None
    }
    kept.update({cell_id: cell.model_dump(mode="json", by_alias=True) for cell_id, cell in activity.items()})
    await transaction.execute(
        queries.note_ended,
        ended["notebook_id"],
        ending.verdict.notebook_status,
        ended["ended_at"],
        dumps(kept),
    )
    return activity


def _duration(started: datetime | None, ended: datetime) -> float | None:
    return round((ended - started).total_seconds(), 3) if started else None
