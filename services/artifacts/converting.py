"""Who converts when: few at a time, so that memory is bounded, and nobody waits for somebody else's slow sender.

A file takes a place when enough of it has come to look at. One that proves to be large goes on in one of the few places
for large ones, or gives way until there is one. Whoever is kept waiting by his sender gives way to those who wait for
his place, and begins anew from the spool when twice as much has come: all in all that is at most twice the work.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Self

import structlog

from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.converter import convert
from services.artifacts.formats.detection import HEAD_BYTES
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.spool import Spool, SpoolAborted
from services.artifacts.metrics import CONVERSIONS
from shared import disk
from shared.errors import Invalid, TooLarge

log = structlog.get_logger(__name__)

SMALL_BYTES = 8 * 1024 * 1024
"""A file with no more content is small, in bytes, unpacked: its conversion takes a moment."""

SMALL_PROCESSOR_S = 1.0
"""A file whose conversion has taken more processor time is as one that is not small, in seconds."""

MOST_PROCESSOR_S, PROCESSOR_S_A_MEGABYTE = 10.0, 2.0
"""How much processor time a conversion may take, in seconds: so much, and so much more for each megabyte of content."""

SMALL_PLACES, LARGE_PLACES = 1, 1
"""How many are converted at once. A large file takes up to 140 MB and two processors, a small one 50 MB: with
the 170 MB of the service itself they stay below the 400 MB that it may take."""

PATIENCE_S = 0.5
"""How long in all a conversion may be kept waiting by its sender before it gives way to others, in seconds."""


class GaveWay(SpoolAborted):
    """The conversion ended before its time, to begin anew."""


class Arriving:
    """A spool as its writer sees it, who lives on the event loop."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._moved = asyncio.Event()
        self.is_whole = False

    async def append(self, data: bytes) -> None:
        """Add bytes; raises Unavailable where the disk is full."""
        await disk.in_thread(self.spool.append, data)
        self._moved.set()

    def finish(self) -> None:
        """Nothing more will come."""
        self.spool.finish()
        self.is_whole = True
        self._moved.set()

    async def holds(self, size: int) -> None:
        """Return when so many bytes have come, or all."""
        while self.spool.size < size and not self.is_whole:
            self._moved.clear()
            await self._moved.wait()


class Places:
    """So many may go on at a time; lives on the event loop. Files that have come whole are let in first: they do not
    depend on a sender any more."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[Arriving, asyncio.Future[None]]] = []

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._waiting)

    def take_now(self) -> bool:
        """Take a place if one is free; returns whether one was."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self, arriving: Arriving) -> None:
        """Take a place when it is this file's turn."""
        if self.take_now():
            return
        turn = (arriving, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:  # the place was given in the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """Leave a place to the next one."""
        waiting = [turn for turn in self._waiting if not turn[1].done()]  # others are just being cancelled
        if not waiting:
            self._free += 1
            return
        turn = next((turn for turn in waiting if turn[0].is_whole), waiting[0])
        self._waiting.remove(turn)
        turn[1].set_result(None)


class Converters:
    """The threads that convert, and their places."""

    def __init__(self, *, small: int = SMALL_PLACES, large: int = LARGE_PLACES) -> None:
        self.small, self.large = Places(small), Places(large)
        self._threads = ThreadPoolExecutor(small + large, thread_name_prefix="convert")

    async def convert(self, arriving: Arriving, target: Path, wishes: Wishes) -> Conversion:
        """Convert a file while it arrives. Raises what `converter.convert` raises, and Unavailable where the disk is
        full. When this is cancelled the spool must have been aborted: it ends when the thread does."""
        is_large, enough = False, HEAD_BYTES
        while True:
            await arriving.holds(enough)
            async with _Turn(self, arriving, is_large=is_large) as turn:
                try:
                    return await self._in_thread(turn, arriving.spool, target, wishes)
                except GaveWay:
                    log.info("conversion gave way", bytes_arrived=arriving.spool.size, large=turn.is_large)
            is_large, enough = turn.is_large, arriving.spool.size * (2 if turn.was_kept_waiting else 1)

    async def _in_thread(self, turn: _Turn, spool: Spool, target: Path, wishes: Wishes) -> Conversion:
        wished = replace(wishes, waiting=turn.waiting, passing=turn.passing, working=turn.working)

        def converted() -> Conversion:
            turn.begin()
            return _converted(spool, target, wished)

        return await disk.to_its_end(asyncio.get_running_loop().run_in_executor(self._threads, converted))


class _Turn:
    """One try of a conversion; a context that holds its place.

    pyarrow reads ahead in a thread of its own and may go on reading for a while when the try has ended: whatever such
    a reader says then ends it, and takes no place.
    """

    def __init__(self, converters: Converters, arriving: Arriving, *, is_large: bool) -> None:
        self._converters = converters
        self._arriving = arriving
        self._loop = asyncio.get_running_loop()
        self._place = converters.large if is_large else converters.small
        self._waited_s = 0.0
        self._began_s, self._content_bytes = 0.0, 0
        self.is_large = is_large
        self.was_kept_waiting = False
        self._has_ended = False

    async def __aenter__(self) -> Self:
        await self._place.take(self._arriving)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._has_ended = True
        self._place.give_back()

    def waiting(self, seconds: float) -> None:
        """Told by the spool's reader, in its thread, that it has waited for bytes; raises GaveWay."""
        self._check()
        self._waited_s += seconds
        if self._waited_s > PATIENCE_S and self._place.is_wanted:
            self.was_kept_waiting = True
            raise GaveWay

    def passing(self, size: int) -> None:
        """Told by the converter, in its thread, how much content it has read; raises GaveWay."""
        self._check()
        self._content_bytes = max(self._content_bytes, size)
        if size > SMALL_BYTES:
            self._go_on_as_large()

    def begin(self) -> None:
        """Told by the thread that it begins."""
        self._began_s = time.thread_time()

    def working(self) -> None:
        """Told by the converter, in its thread, again and again; raises GaveWay, and Invalid when it has taken too much
        processor time."""
        taken_s = time.thread_time() - self._began_s
        if taken_s > SMALL_PROCESSOR_S:
            self._go_on_as_large()
        most_s = MOST_PROCESSOR_S + PROCESSOR_S_A_MEGABYTE * self._content_bytes / 1_000_000
        if taken_s > most_s:
            raise refuse(
                f"reading it is too costly: it takes more than {most_s:.0f} s of processor time; use fewer columns"
            )

    def _check(self) -> None:
        if self._has_ended:
            raise GaveWay

    def _go_on_as_large(self) -> None:
        if self.is_large:
            return
        self.is_large = True
        if not asyncio.run_coroutine_threadsafe(self._move(), self._loop).result():
            raise GaveWay

    async def _move(self) -> bool:
        """Go over to a place for large files, if one is free and the try has not ended meanwhile."""
        if self._has_ended or not self._converters.large.take_now():
            return False
        self._place.give_back()
        self._place = self._converters.large
        return True


def _converted(spool: Spool, target: Path, wishes: Wishes) -> Conversion:
    try:
        with disk.with_room():
            conversion = convert(spool, target, wishes)
    except GaveWay:
        raise
    except BaseException as error:
        CONVERSIONS.labels("unknown", "refused" if isinstance(error, Invalid | TooLarge) else "aborted").inc()
        raise
    CONVERSIONS.labels(conversion.source["format"], "ok").inc()
    return conversion
