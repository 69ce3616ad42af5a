"""Keeps what runs by itself in step with the present version of a notebook, and refuses chains that close a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import orjson

from services.catalog.automation import fires, rules
from services.catalog.automation.fires import queries
from services.catalog.automation.timetable import Timetable
from shared.contracts.notebooks import Integration
from shared.database import Transaction
from shared.errors import Fault, Invalid

DEFAULT_ZONE = "UTC"
"""The time zone of a schedule that names none (SPEC.md: Notebooks)."""


async def follow(transaction: Transaction, notebook_id: UUID, integration: Integration) -> None:
    """The notebook's new version says `integration`. Raises Invalid for a chain with a cycle or an unknown notebook.

    Called in the transaction of the version, with the notebook's row locked or new.
    """
    if integration.run_after:
        await _check_chain(transaction, notebook_id, integration.run_after)
    row = await transaction.row(queries.lock, notebook_id)
    if row is None and not _automatic(integration):
        return
    await _put(transaction, notebook_id, integration, row)
    if row is not None and row["cron"] is not None and integration.schedule_execution is None:
        await drop_waiting(transaction, notebook_id, "the schedule was removed")
    await transaction.execute(queries.clear_links, notebook_id)
    if integration.run_after:
        await transaction.execute(queries.put_links, notebook_id, integration.run_after)


async def drop_waiting(transaction: Transaction, notebook_id: UUID, reason: str) -> None:
    """Skip the times of the schedule that wait for an earlier run."""
    for fire in await transaction.fetch(queries.fires, notebook_id, ["waiting"], None, None, fires.MAX_OPEN, 0):
        if fire["kind"] == "schedule":
            await fires.skip(transaction, fire, reason)


async def next_due(
    transaction: Transaction, notebook_id: UUID, cron: str | None, zone: str, jitter: int
) -> tuple[datetime | None, datetime | None]:
    """The next time of a schedule from now on, and when its run is due; None without one."""
    if cron is None:
        return None, None
    time = Timetable(cron, zone).first_after(await transaction.value(queries.now))
    return (None, None) if time is None else (time, rules.due(notebook_id, time, jitter).due)


def _automatic(integration: Integration) -> bool:
    return bool(integration.schedule_execution or integration.auto_execution or integration.run_after)


async def _put(
    transaction: Transaction, notebook_id: UUID, integration: Integration, before: asyncpg.Record | None
) -> None:
    cron, zone = integration.schedule_execution, integration.schedule_time_zone or DEFAULT_ZONE
    jitter = integration.schedule_jitter or 0
    paused_at = before["paused_at"] if before is not None and cron is not None else None
    if before is not None and (before["cron"], before["time_zone"], before["jitter"]) == (cron, zone, jitter):
        next_at, due_at = before["next_fire_at"], before["due_at"]  # a time that is due already is not lost
    elif paused_at is not None:
        next_at, due_at = None, None
    else:
        next_at, due_at = await next_due(transaction, notebook_id, cron, zone, jitter)
    await transaction.execute(
        queries.put,
        notebook_id,
        cron,
        zone,
        integration.schedule_overlap or "skip",
        integration.schedule_misfire or "fire_once",
        jitter,
        orjson.dumps(integration.schedule_parameters or {}).decode(),
        integration.dataset_binding if integration.auto_execution else None,
        next_at,
        due_at,
        paused_at,
        before["paused_by"] if before is not None and paused_at is not None else None,
    )


async def _check_chain(transaction: Transaction, notebook_id: UUID, run_after: Sequence[UUID]) -> None:
    await transaction.execute(queries.lock_chains, notebook_id)
    strangers = {row["id"] for row in await transaction.fetch(queries.strangers, notebook_id, run_after)}
    faults = [
        Fault(path=f"integration.runAfter[{place}]", message=f"there is no notebook {other} in this project")
        for place, other in enumerate(run_after)
        if other in strangers
    ]
    if not faults:
        rows = await transaction.fetch(queries.links_back, notebook_id, run_after)
        cycle = rules.cycle(notebook_id, run_after, {row["notebook_id"]: row["after_ids"] for row in rows})
        if cycle:
            names = {row["notebook_id"]: row["name"] for row in await transaction.fetch(queries.names, cycle)}
            way = " → ".join(repr(names.get(each, str(each))[:60]) for each in cycle)
            faults.append(Fault(path="integration.runAfter", message=f"closes a cycle: {way}"))
    if faults:
        raise Invalid("The chain of notebooks is not valid.", faults=faults)
