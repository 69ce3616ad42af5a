"""Turns times of schedules that have come into fires: each in the transaction that moves the schedule on to the next.

Any number of replicas do this at once; the row's lock and the unique key of fires keep each time to one fire, and a
replica that is killed at any line leaves the schedule either before the time or after it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

import asyncpg
import structlog

from services.catalog.automation import fires, rules
from services.catalog.automation.fires import queries
from services.catalog.automation.rules import Decision, Due
from services.catalog.automation.timetable import Timetable
from shared.background import Background
from shared.contracts.schedules import Trigger
from shared.database import Database, Transaction
from shared.errors import AtelierError

log = structlog.get_logger(__name__)

POLL_S = 1.0
"""How often a replica looks for schedules that are due, in seconds; each pause is shortened at random."""

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 600.0
"""How long a schedule is left alone that could not be moved on, in seconds: doubled each time, up to the second."""

SUBJECT = "schedule"
"""Who runs are said to be created by that nobody asked for."""


class Scheduler(Background):
    """One background task a process. `on_fire` is told when there is something to send."""

    def __init__(self, database: Database, *, on_fire: Callable[[], None]) -> None:
        super().__init__()
        self._database = database
        self._on_fire = on_fire

    async def fire_due(self) -> int:
        """Write down every time that has come; returns of how many schedules."""
        count = 0
        while await self._fire_one():
            count += 1
        if count:
            self._on_fire()
        return count

    async def work(self) -> float:
        """See Background."""
        await self.fire_due()
        return POLL_S * random.uniform(0.5, 1.0)  # noqa: S311 - replicas should not march in step

    async def _fire_one(self) -> bool:
        row = None
        try:
            async with self._database.transaction() as transaction:
                row = await transaction.row(queries.take_due)
                if row is None:
                    return False
                await _move_on(transaction, row)
        except AtelierError:
            raise  # no fault of the schedule: the database is away
        except Exception as error:
            if row is None:
                raise
            # One schedule that cannot be moved on must not keep the others from it: it goes to the end of the line.
            await self._put_back(row, error)
        return True

    async def _put_back(self, row: asyncpg.Record, error: Exception) -> None:
        pause = min(SHORTEST_PAUSE_S * 2 ** min(row["failures"], 20), LONGEST_PAUSE_S)
        log.error(
            "schedule not moved on",
            notebook_id=str(row["notebook_id"]),
            attempts=row["failures"] + 1,
            again_in_s=pause,
            exc_info=error,
        )
        async with self._database.transaction() as transaction:
            await transaction.execute(queries.put_back, row["notebook_id"], row["due_at"], pause)


async def _move_on(transaction: Transaction, row: asyncpg.Record) -> None:
    now = await transaction.value(queries.now)
    decisions, following = await asyncio.to_thread(_work_out, row, now)
    for decision in decisions:
        await fires.make(
            transaction,
            row,
            "schedule",
            decision.time,
            due_at=decision.due,
            trigger=Trigger(kind="schedule"),
            subject=SUBJECT,
            overlap=row["overlap"],
            reason=decision.reason,
        )
    await transaction.execute(
        queries.advance,
        row["notebook_id"],
        following.time if following else None,
        following.due if following else None,
    )


def _work_out(row: asyncpg.Record, now: datetime) -> tuple[list[Decision], Due | None]:
    timetable = Timetable(row["cron"], row["time_zone"])
    times, following = rules.come(timetable, row["notebook_id"], row["next_fire_at"], now, row["jitter"])
    return rules.decide(times, now, row["misfire"]), following
