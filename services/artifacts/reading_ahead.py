"""Objects fetched before their turn comes: a store answers many small requests side by side, and slowly in a row."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import aiohttp

from services.artifacts import downloads
from services.artifacts.downloads import Source
from shared.contracts.results import ArtifactEntry

if TYPE_CHECKING:
    from services.artifacts.app import App

AT_ONCE = 8
"""Objects that are fetched or wait for their turn."""

SMALL_BYTES = 1024 * 1024
"""Only objects up to this size are fetched ahead, in bytes: so much, times AT_ONCE, may be in memory. The archive
deflates no larger ones."""


def is_small(entry: ArtifactEntry) -> bool:
    """Whether the artifact is an object that is fetched ahead."""
    return entry.object_key is not None and entry.size_bytes <= SMALL_BYTES


class ReadingAhead:
    """The small objects among some artifacts, in their order."""

    def __init__(self, app: App, storage: aiohttp.ClientSession, entries: Iterable[ArtifactEntry]) -> None:
        self._app = app
        self._storage = storage
        self._left = iter([entry for entry in entries if is_small(entry)])
        self._fetching: deque[asyncio.Task[bytes]] = deque()

    async def next(self) -> bytes:
        """The bytes of the next one. Raises what `downloads.pieces` raises, and aiohttp's ClientError."""
        self._go_on()
        body = await self._fetching.popleft()
        self._go_on()
        return body

    async def close(self) -> None:
        """Give up what nobody has taken."""
        for task in self._fetching:
            task.cancel()
        await asyncio.gather(*self._fetching, return_exceptions=True)

    def _go_on(self) -> None:
        while len(self._fetching) < AT_ONCE and (entry := next(self._left, None)) is not None:
            self._fetching.append(asyncio.create_task(self._fetch(entry)))

    async def _fetch(self, entry: ArtifactEntry) -> bytes:
        source = Source(object_key=entry.object_key, inline=None, size=entry.size_bytes)
        async with downloads.pieces(self._app, self._storage, source) as stream:
            return b"".join([piece async for piece in stream])
