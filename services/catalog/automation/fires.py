"""The rows of fires: made, settled with their fact, and shown."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import asyncpg
from prometheus_client import Counter

from shared.contracts.base import Scope
from shared.contracts.schedules import (
    Fire,
    FireKind,
    FireState,
    ScheduleFired,
    ScheduleSkipped,
    Trigger,
    fire_id_of,
)
from shared.database import Transaction
from shared.sql import Queries

queries = Queries(Path(__file__).with_name("queries.sql"))

Overlap = Literal["skip", "queue", "replace", "allow"]

FIRES = Counter("atelier_fires_total", "Automatic runs that were started or skipped", ["kind", "outcome"])

_STATES: dict[str, FireState] = {
    "waiting": "Pending",
    "sending": "Pending",
    "started": "Started",
    "skipped": "Skipped",
}

MAX_OPEN = 100
"""Fires of one notebook that may wait for earlier runs; a notebook that takes longer than its period must not pile up
runs for ever."""


def stored_states(state: FireState | None) -> list[str] | None:
    """The states of rows that a state on the API stands for; None for all."""
    return None if state is None else [stored for stored, shown in _STATES.items() if shown == state]


async def make(
    transaction: Transaction,
    automation: asyncpg.Record,
    kind: FireKind,
    fire_at: datetime,
    *,
    due_at: datetime,
    trigger: Trigger,
    subject: str,
    overlap: Overlap,
    reason: str | None = None,
) -> bool:
    """Write a fire down, skipped when it has a `reason`; False when there is one of this kind and time already.

    The automation's row must be locked: its deletion is what ends fires for ever.
    """
    notebook_id = automation["notebook_id"]
    fire_id = fire_id_of(notebook_id, kind, fire_at)
    if reason is None and await transaction.value(queries.count_open, notebook_id) >= MAX_OPEN:
        reason = f"{MAX_OPEN} runs of this notebook are waiting already"
    complete = trigger.model_copy(update={"fire_id": fire_id, "fire_time": fire_at})
    made = await transaction.value(
        queries.insert_fire,
        fire_id,
        notebook_id,
        automation["tenant_id"],
        automation["project_id"],
        kind,
        fire_at,
        due_at,
        "waiting" if reason is None else "skipped",
        reason,
        complete.model_dump_json(by_alias=True),
        subject,
        overlap,
    )
    if made is None:
        return False
    if reason is not None:
        _tell_skipped(transaction, await transaction.row(queries.one_fire, fire_id))
    return True


async def started(transaction: Transaction, fire: asyncpg.Record, trigger: Trigger) -> bool:
    """The fire's execution was accepted; False when that was known."""
    row = await transaction.row(
        queries.settle, fire["fire_id"], "started", None, trigger.model_dump_json(by_alias=True)
    )
    if row is None:
        return False
    FIRES.labels(row["kind"], "started").inc()
    transaction.emit(
        ScheduleFired(
            scope=_scope(row),
            notebook_id=row["notebook_id"],
            fire_id=row["fire_id"],
            fire_time=row["fire_at"],
            trigger=trigger,
            execution_id=row["fire_id"],
        )
    )
    return True


async def skip(transaction: Transaction, fire: asyncpg.Record, reason: str) -> None:
    """The fire passes without a run."""
    row = await transaction.row(queries.settle, fire["fire_id"], "skipped", reason, None)
    if row is not None:
        _tell_skipped(transaction, row)


def _tell_skipped(transaction: Transaction, row: asyncpg.Record | None) -> None:
    assert row is not None  # noqa: S101 - it was written a moment ago
    FIRES.labels(row["kind"], "skipped").inc()
    transaction.emit(
        ScheduleSkipped(
            scope=_scope(row),
            notebook_id=row["notebook_id"],
            fire_id=row["fire_id"],
            fire_time=row["fire_at"],
            trigger=Trigger.model_validate_json(row["trigger"]),
            reason=row["reason"],
        )
    )


def view(row: asyncpg.Record) -> Fire:
    """A row as the API shows it."""
    return Fire(
        fire_id=row["fire_id"],
        notebook_id=row["notebook_id"],
        kind=row["kind"],
        fire_time=row["fire_at"],
        due_time=row["due_at"],
        state=_STATES[row["state"]],
        reason=row["reason"],
        trigger=Trigger.model_validate_json(row["trigger"]),
        execution_id=row["fire_id"] if row["state"] == "started" else None,
        decided_at=row["decided_at"],
    )


def _scope(row: asyncpg.Record) -> Scope:
    return Scope(tenant_id=row["tenant_id"], project_id=row["project_id"])
