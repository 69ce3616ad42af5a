"""Removes objects that nothing refers to any more: a queue in the database, worked off by every artifacts process."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from services.artifacts import claim_checks, kept_replies
from services.artifacts.metrics import OBJECTS_REMOVED
from services.artifacts.store import queries
from shared.background import Background
from shared.database import Database
from shared.objects import ObjectStore

LOOK_EVERY_S = 2.0
"""How often the queue is looked at when nobody calls, in seconds."""

SWEEP_EVERY_S = 300.0
"""How often the leavings of dead processes and old message bodies are looked for, in seconds."""

BATCH = 10
"""Queue entries taken at once."""

REQUEST_KEYS = 1_000
"""Most objects that one S3 request removes."""

UPLOADS_KNOWN_S = 86_400.0
"""How long an upload's progress can be asked for after its last change, in seconds."""

STILL_WRITING_S = 900.0
"""How long a process that lost its lease may still be writing an object, in seconds: far longer than one takes."""


class Removals(Background):
    """The queue's worker. An entry leaves only when the object store has done what it says."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        super().__init__()
        self._database = database
        self._objects = objects
        self._next_sweep = 0.0

    async def request(self, prefix: str, *, after_s: float) -> None:
        """Have everything under `prefix` removed after so many seconds."""
        async with self._database.connection() as connection:
            await connection.execute(queries.request_removal, prefix, after_s)

    async def remove_now(self, prefix: str) -> int:
        """Remove everything under `prefix`; returns how many objects that were. Raises Unavailable."""
        keys = await self._objects.keys(prefix)
        for start in range(0, len(keys), REQUEST_KEYS):
            await self._objects.remove(keys[start : start + REQUEST_KEYS])
        OBJECTS_REMOVED.inc(len(keys))
        return len(keys)

    async def work_off(self) -> int:
        """Do what is due; returns how many entries that were."""
        async with self._database.transaction() as tx:
            due = await tx.fetch(queries.next_removals, BATCH)
            for row in due:
                await self.remove_now(row["prefix"])
                await tx.execute(queries.finish_removal, row["id"])
        return len(due)

    async def sweep(self, now: datetime) -> None:
        """Queue what dead processes left unfinished; remove message bodies that nobody dropped."""
        async with self._database.connection() as connection:
            await connection.execute(queries.abandon_objects_of_the_dead, STILL_WRITING_S)
            await connection.execute(queries.forget_uploads, UPLOADS_KNOWN_S)
        old = await claim_checks.left_behind(self._objects, now) + await kept_replies.too_old(self._objects, now)
        for start in range(0, len(old), REQUEST_KEYS):
            await self._objects.remove(old[start : start + REQUEST_KEYS])
        OBJECTS_REMOVED.inc(len(old))

    async def work(self) -> float:
        """See Background."""
        while await self.work_off() == BATCH:
            continue
        if time.monotonic() >= self._next_sweep:
            await self.sweep(datetime.now(UTC))
            self._next_sweep = time.monotonic() + SWEEP_EVERY_S
        return LOOK_EVERY_S
