"""Finds objects that no row refers to and has them removed once they are older than the longest upload.

A manifest of an epoch that was overtaken, since its worker was lost before the run's end, goes with its objects.
Multipart uploads whose process died are no objects yet, and take room all the same: those of the same age are aborted.

What a process writes is named in `unsealed_object` first, or lies in the folder of an epoch whose manifest is yet to
come. Either way it may be without a row for as long as an upload takes, and no longer: what is older and still unknown
was left by a process that died. The age is what the object store says, counted from the end of the write, and the
writer's row must follow within that age; the removal is ordered by a statement that asks for the row once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from services.artifacts.claim_checks import FOLDER
from services.artifacts.metrics import ORPHANS_FOUND, SWEEP_SECONDS, UPLOADS_ABORTED
from services.artifacts.removals import Removals
from services.artifacts.store import queries
from shared.background import Background
from shared.database import Database
from shared.errors import AtelierError
from shared.objects import ObjectStore, StoredObject

log = structlog.get_logger(__name__)

BATCH_KEYS = 1_000
"""Objects asked about at once."""

FIRST_REST_S = 30.0
"""Until the first sweep after a start, in seconds: not every restart of every process lists the whole store."""

_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OURS = re.compile(rf"{_GUID}/{_GUID}/(?:datasets/{_GUID}/|libraries/|files/|{_GUID}/\d+/)")
"""Where this service and the workers write: a bucket may hold other things, which are none of our business."""


class Sweeping(Background):
    """The worker. One process of all sweeps at a time."""

    def __init__(
        self, database: Database, objects: ObjectStore, removals: Removals, *, every_s: float, after_s: float
    ) -> None:
        super().__init__()
        self._database = database
        self._objects = objects
        self._removals = removals
        self._every_s = every_s
        self._age = timedelta(seconds=after_s)
        self._rested = False

    async def sweep(self, now: datetime) -> int:
        """Look at every object once; returns how many were ordered to be removed. Raises Unavailable."""
        found = 0
        with SWEEP_SECONDS.time():
            async with self._database.transaction() as tx:
                await tx.execute(queries.remove_superseded, now - self._age)
            stored = await self._objects.listing("")
            old = [each.key for each in stored if self._is_candidate(each, now)]
            for keys in _slices(old, BATCH_KEYS):
                found += await self._order_removal(keys)
        if found:
            log.warning("objects without a row", count=found)
            ORPHANS_FOUND.inc(found)
            self._removals.wake()
        await self._abort_uploads(now)
        return found

    async def _abort_uploads(self, now: datetime) -> None:
        try:
            begun = await self._objects.open_uploads()
        except AtelierError as error:
            # Not every S3 server has this call; the objects have been looked at all the same.
            log.warning("unfinished uploads cannot be listed", reason=error.detail)
            return
        ours = [each for each in begun if each.key.startswith(FOLDER) or _is_ours(each.key)]
        old = [each for each in ours if now - each.begun_at > self._age]
        for upload in old:
            await self._objects.abort(upload)
        if old:
            log.warning("unfinished uploads aborted", count=len(old))
            UPLOADS_ABORTED.inc(len(old))

    def _is_candidate(self, stored: StoredObject, now: datetime) -> bool:
        return _is_ours(stored.key) and now - stored.modified_at > self._age

    async def _order_removal(self, keys: list[str]) -> int:
        async with self._database.connection() as connection:
            unknown = [row["key"] for row in await connection.fetch(queries.unknown_objects, keys)]
        if not unknown:
            return 0
        async with self._database.transaction() as tx:
            return await tx.execute(queries.remove_unknown_objects, unknown)

    async def work(self) -> float:
        """See Background."""
        if not self._rested:
            self._rested = True
            return min(FIRST_REST_S, self._every_s)
        if await self._is_my_turn():
            await self.sweep(datetime.now(UTC))
        return self._every_s

    async def _is_my_turn(self) -> bool:
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(queries.begin_sweep, self._every_s))


def _is_ours(key: str) -> bool:
    return not key.startswith(FOLDER) and _OURS.match(key) is not None


def _slices(keys: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(keys), size):
        yield list(keys[start : start + size])
