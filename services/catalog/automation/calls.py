"""What people ask of schedules: look, pause, resume, run now, and the history of fires."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import orjson

from services.catalog import store
from services.catalog.automation import definition, fires
from services.catalog.automation.fires import queries
from services.catalog.automation.timetable import Timetable
from shared import cursors
from shared.contracts.base import Scope
from shared.contracts.notebooks import Integration
from shared.contracts.schedules import (
    Fire,
    FirePage,
    GetSchedule,
    ListFires,
    PauseSchedule,
    ResumeSchedule,
    RunSchedule,
    Schedule,
    Trigger,
    Upstream,
    fire_id_of,
)
from shared.errors import Conflict
from shared.responder import Context

if TYPE_CHECKING:
    from services.catalog.app import Catalog

SHOWN = 10
"""Next times and last fires that a schedule shows (SPEC.md: Notebooks)."""

NO_SCHEDULE = "The notebook has no schedule; set integration.scheduleExecution first."

ANSWER_S = 3.0
"""How long `run now` waits for executor's word before it answers that the fire is pending, in seconds."""


async def get_schedule(app: Catalog, command: GetSchedule, _context: Context) -> Schedule:
    """The schedule with its next times and last fires."""
    async with app.database.connection() as connection:
        return await _schedule(connection, command.scope, command.notebook_id)


async def pause_schedule(app: Catalog, command: PauseSchedule, context: Context) -> Schedule:
    """No time fires from here on; times that wait for an earlier run are skipped."""
    notebook_id = command.notebook_id
    async with app.turns.of(notebook_id, context.deadline), context.transaction() as transaction:
        sql = transaction.sql
        await store.found(sql, store.queries.lock, command.scope, notebook_id)
        row = await sql.row(queries.lock, notebook_id)
        if row is None or row["cron"] is None:
            raise Conflict(NO_SCHEDULE)
        if row["paused_at"] is None:
            await sql.execute(queries.pause, notebook_id, command.caller.subject.replace("\x00", ""))
            await definition.drop_waiting(sql, notebook_id, "the schedule was paused")
        return transaction.reply(await _schedule(sql.connection, command.scope, notebook_id))


async def resume_schedule(app: Catalog, command: ResumeSchedule, context: Context) -> Schedule:
    """The next time fires again."""
    notebook_id = command.notebook_id
    async with app.turns.of(notebook_id, context.deadline), context.transaction() as transaction:
        sql = transaction.sql
        await store.found(sql, store.queries.lock, command.scope, notebook_id)
        row = await sql.row(queries.lock, notebook_id)
        if row is None or row["cron"] is None:
            raise Conflict(NO_SCHEDULE)
        if row["paused_at"] is not None:
            following = await definition.next_due(sql, notebook_id, row["cron"], row["time_zone"], row["jitter"])
            await sql.execute(queries.resume, notebook_id, *following)
        return transaction.reply(await _schedule(sql.connection, command.scope, notebook_id))


async def run_schedule(app: Catalog, command: RunSchedule, context: Context) -> Fire:
    """A fire of its own, beside the times of the schedule. Waits a little for executor's word."""
    notebook_id = command.notebook_id
    subject = command.caller.subject.replace("\x00", "")
    async with app.turns.of(notebook_id, context.deadline), context.transaction() as transaction:
        sql = transaction.sql
        await store.found(sql, store.queries.lock, command.scope, notebook_id)
        row = await sql.row(queries.lock, notebook_id)
        if row is None or row["cron"] is None:
            raise Conflict(NO_SCHEDULE)
        now: datetime = await sql.value(queries.now)
        trigger = Trigger(kind="schedule", manual=True)
        made = False
        while not made:  # another of the same microsecond is another fire
            made = await fires.make(
                sql, row, "manual", now, due_at=now, trigger=trigger, subject=subject, overlap="allow"
            )
            fire_id = fire_id_of(notebook_id, "manual", now)
            now += timedelta(microseconds=1)
        fire = transaction.reply(fires.view(await _row_of(sql.connection, fire_id)))
    app.starter.wake()
    return await _once_decided(app, fire)


async def list_fires(app: Catalog, command: ListFires, _context: Context) -> FirePage:
    """A page of the history, newest first."""
    after = cursors.place(command.cursor, datetime, UUID) if command.cursor else None
    states = fires.stored_states(command.state)
    offset = 0 if after else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        await store.found(store.Outside(connection), store.queries.standing, command.scope, command.notebook_id)
        total = await connection.fetchval(queries.count_fires, command.notebook_id, states)
        rows = await connection.fetch(
            queries.fires, command.notebook_id, states, *(after or (None, None)), command.page_size + 1, offset
        )
    shown = rows[: command.page_size]
    more = len(rows) > len(shown)
    return FirePage(
        fires=[fires.view(row) for row in shown],
        total_count=total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=more,
        next_cursor=cursors.cursor(shown[-1]["fire_at"], shown[-1]["fire_id"]) if more else None,
    )


async def _once_decided(app: Catalog, fire: Fire) -> Fire:
    """The fire when executor has answered, or as it is after a while."""
    try:
        async with asyncio.timeout(ANSWER_S):
            while fire.state == "Pending":
                await asyncio.sleep(0.02)
                async with app.database.connection() as connection:
                    fire = fires.view(await _row_of(connection, fire.fire_id))
    except TimeoutError:
        return fire
    return fire


async def _row_of(connection: asyncpg.Connection, fire_id: UUID) -> asyncpg.Record:
    row = await connection.fetchrow(queries.one_fire, fire_id)
    if row is None:
        raise Conflict("The notebook was deleted in the meantime.")
    return row


async def _schedule(connection: asyncpg.Connection, scope: Scope, notebook_id: UUID) -> Schedule:
    """Raises NotFound without the notebook."""
    version = await store.found(store.Outside(connection), store.queries.version, scope, notebook_id, None)
    integration = Integration.model_validate_json(version["integration"])
    row = await connection.fetchrow(queries.read, notebook_id)
    last = await connection.fetch(queries.fires, notebook_id, None, None, None, SHOWN, 0)
    cron, zone = integration.schedule_execution, integration.schedule_time_zone or definition.DEFAULT_ZONE
    paused = row is not None and row["paused_at"] is not None
    next_times: list[datetime] = []
    if cron is not None:
        now = await connection.fetchval(queries.now)
        next_times = await asyncio.to_thread(lambda: list(itertools.islice(Timetable(cron, zone).after(now), SHOWN)))
    return Schedule(
        notebook_id=notebook_id,
        state="None" if cron is None else "Paused" if paused else "Active",
        schedule_execution=cron,
        schedule_time_zone=zone,
        schedule_overlap=integration.schedule_overlap or "skip",
        schedule_misfire=integration.schedule_misfire or "fire_once",
        schedule_jitter=integration.schedule_jitter or 0,
        schedule_parameters=orjson.loads(row["parameters"]) if row is not None else {},
        paused_at=row["paused_at"] if row is not None else None,
        paused_by=row["paused_by"] if row is not None else None,
        next_times=next_times,
        last_fires=[fires.view(fire) for fire in last],
        auto_execution=integration.auto_execution,
        run_after=await _upstream(connection, notebook_id, integration.run_after),
    )


async def _upstream(connection: asyncpg.Connection, notebook_id: UUID, run_after: list[UUID]) -> list[Upstream]:
    if not run_after:
        return []
    since = await connection.fetchval(queries.last_start, notebook_id)
    known = {row["after_id"]: row for row in await connection.fetch(queries.upstream, notebook_id, since)}
    return [
        Upstream(
            notebook_id=other,
            notebook_name=known[other]["name"] if other in known else None,
            completed=other in known and known[other]["execution_id"] is not None,
            deleted=other not in known,
        )
        for other in run_after
    ]
