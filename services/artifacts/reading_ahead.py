"""Small artifacts fetched before their turn comes, many with one request: a store or a database answers few large
questions far sooner than many small ones, and side by side sooner than in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import aiohttp

from services.artifacts import downloads
from services.artifacts.downloads import Source
from services.artifacts.store import queries
from shared.contracts.results import ArtifactEntry
from shared.contracts.transfers import ArchiveDownload
from shared.errors import NotFound

if TYPE_CHECKING:
    from services.artifacts.app import App

AT_ONCE = 8
"""Portions that are fetched or wait for their turn."""

SMALL_BYTES = 1024 * 1024
"""Only artifacts up to this size are fetched ahead, and so many bytes with one request: AT_ONCE times as many may be in
memory."""

GAP_BYTES = 256 * 1024
"""What may lie between two artifacts of a pack that are fetched with one request, in bytes: what a request costs."""


@dataclass
class Portion:
    """Artifacts that are fetched together: rows, or neighbours in one object (`object_key`)."""

    object_key: str | None
    packed: bool
    entries: list[ArtifactEntry] = field(default_factory=list)
    start: int = 0
    end: int = 0
    left: int = 0

    def takes(self, start: int, size: int) -> bool:
        """Whether bytes at a place of the same object belong to it too; rows lie one after another."""
        return self.end <= start <= self.end + GAP_BYTES and start + size - self.start <= SMALL_BYTES

    def add(self, entry: ArtifactEntry, start: int) -> None:
        """Take one more."""
        if not self.entries:
            self.start = start
        self.entries.append(entry)
        self.end = start + entry.size_bytes
        self.left += 1


def is_small(entry: ArtifactEntry) -> bool:
    """Whether the artifact is fetched ahead."""
    return entry.size_bytes <= SMALL_BYTES or (entry.object_key is None and entry.pack is None)


def portions(entries: Iterable[ArtifactEntry]) -> list[Portion]:
    """The small artifacts among some, by portions, in the order in which they are first needed."""
    found: list[Portion] = []
    open_ones: dict[str | None, Portion] = {}
    for entry in filter(is_small, entries):
        key = entry.pack.object_key if entry.pack else entry.object_key
        portion = open_ones.get(key)
        start = entry.pack.offset if entry.pack else portion.end if portion and key is None else 0
        if portion is None or not portion.takes(start, entry.size_bytes):
            portion = open_ones[key] = Portion(object_key=key, packed=entry.pack is not None)
            found.append(portion)
        portion.add(entry, start)
    return found


class ReadingAhead:
    """The small ones among a run's artifacts, in `portions`; `take` them in their order."""

    def __init__(self, app: App, storage: aiohttp.ClientSession, wanted: ArchiveDownload, found: list[Portion]) -> None:
        self._app = app
        self._storage = storage
        self._wanted = wanted
        self._of = {entry.artifact_id: portion for portion in found for entry in portion.entries}
        self._waiting = iter(found)
        self._fetching: dict[int, asyncio.Task[dict[UUID, memoryview]]] = {}
        self._rows = asyncio.Lock()  # one connection to the database for one reader

    async def take(self, entry: ArtifactEntry) -> memoryview:
        """The bytes of a small artifact. Raises what `downloads.pieces` raises, and aiohttp's ClientError."""
        portion = self._of[entry.artifact_id]
        while id(portion) not in self._fetching and self._begin():
            continue  # it is needed now, however many wait for their turn
        self._go_on()
        body = (await self._fetching[id(portion)])[entry.artifact_id]
        portion.left -= 1
        if not portion.left:
            del self._fetching[id(portion)]
            self._go_on()
        return body

    async def close(self) -> None:
        """Give up what nobody has taken."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    def _go_on(self) -> None:
        while len(self._fetching) < AT_ONCE and self._begin():
            continue

    def _begin(self) -> bool:
        """Begin to fetch the next; False when there is none."""
        portion = next(self._waiting, None)
        if portion is None:
            return False
        fetch = self._part(portion) if portion.object_key else self._inline(portion)
        self._fetching[id(portion)] = asyncio.create_task(fetch)
        return True

    async def _part(self, portion: Portion) -> dict[UUID, memoryview]:
        source = Source(
            object_key=portion.object_key,
            inline=None,
            size=portion.end - portion.start,
            offset=portion.start if portion.packed else None,
        )
        async with downloads.pieces(self._app, self._storage, source) as stream:
            body = memoryview(b"".join([piece async for piece in stream]))
        places = [entry.pack.offset - portion.start if entry.pack else 0 for entry in portion.entries]
        return {
            entry.artifact_id: body[place : place + entry.size_bytes]
            for entry, place in zip(portion.entries, places, strict=True)
        }

    async def _inline(self, portion: Portion) -> dict[UUID, memoryview]:
        ids = [entry.artifact_id for entry in portion.entries]
        wanted = self._wanted
        async with self._rows, self._app.database.connection() as connection:
            rows = await connection.fetch(queries.bytes_of_artifacts, wanted.execution_id, wanted.epoch, ids)
        found = {row["artifact_id"]: memoryview(row["inline"]) for row in rows}
        if missing := set(ids) - set(found):
            raise NotFound(f"{len(missing)} artifacts have been removed meanwhile.")
        return found
