"""Scheduler of dataset conversions: few at a time, each in a child process, none held up by a slow sender.

A file takes a place when enough of it has come to look at. One that proves to be large goes on in one of the few places
for large ones, or gives way until one is free. A file whose sender pauses gives way to those that wait for its place,
and begins anew from the spool when twice as much has come: all in all that is at most twice the work.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Self

import orjson
import structlog

from services.artifacts import conversion_child
from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.detection import HEAD_BYTES
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.spool import Spool
from services.artifacts.metrics import CONVERSIONS
from shared import apart, disk
from shared.child_exchange import Conversation, Limits, OutOfProcessorTime, TooCostly
from shared.child_pool import ChildPool
from shared.errors import Invalid, TooLarge

log = structlog.get_logger(__name__)

SMALL_BYTES = 8 * 1024 * 1024
"""A file with no more content is small, in bytes, unpacked: its conversion takes a moment."""

SMALL_PROCESSOR_S = 1.0
"""A file whose conversion has taken more processor time is as one that is not small, in seconds."""

MOST_PROCESSOR_S, PROCESSOR_S_A_MEGABYTE = 10.0, 2.0
"""How much processor time a conversion may take, in seconds: so much, and so much more for each megabyte of content."""

SMALL_PLACES, LARGE_PLACES = 1, 1
"""How many are converted at once. A large file takes up to two processors."""

LIMITS = Limits(
    processor_s=apart.PROCESSOR_S, memory_bytes=1024 * 1024 * 1024, output_bytes=16 * 1024 * 1024, niceness=0
)
"""What the process of a conversion may take at most; of processor time it may have less for most files."""

PATIENCE_S = 0.5
"""How long in all a conversion may be kept waiting by its sender before it gives way to others, in seconds."""

START_S = 20.0
"""How long a process may take to start, in seconds; the first one imports pyarrow."""


class GaveWay(Exception):
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
        self.is_whole = True
        self._moved.set()

    async def moved(self) -> None:
        """Return when something has come since the last call."""
        await self._moved.wait()
        self._moved.clear()

    async def holds(self, size: int) -> None:
        """Return when so many bytes have come, or all."""
        while self.spool.size < size and not self.is_whole:
            await self.moved()


class Places:
    """So many may go on at a time. Files that have come whole are let in first: they do not depend on a sender any
    more."""

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
    """The processes that convert, and their places."""

    def __init__(self, children: ChildPool, *, small: int = SMALL_PLACES, large: int = LARGE_PLACES) -> None:
        self.children = children
        self.small, self.large = Places(small), Places(large)

    async def convert(self, arriving: Arriving, target: Path, wishes: Wishes) -> Conversion:
        """Convert a file while it arrives. Raises what `converter.convert` raises, Invalid where that is too costly,
        and Unavailable where the disk is full or no process can be started."""
        try:
            conversion = await self._converted(arriving, target, wishes)
        except BaseException as error:
            CONVERSIONS.labels("unknown", "refused" if isinstance(error, Invalid | TooLarge) else "aborted").inc()
            raise
        CONVERSIONS.labels(conversion.source["format"], "ok").inc()
        return conversion

    async def _converted(self, arriving: Arriving, target: Path, wishes: Wishes) -> Conversion:
        is_large, enough = False, HEAD_BYTES
        while True:
            await arriving.holds(enough)
            async with _Try(self, arriving, is_large=is_large) as one:
                try:
                    return await one.convert(target, wishes)
                except GaveWay:
                    log.info("conversion gave way", bytes_arrived=arriving.spool.size, large=one.is_large)
            is_large, enough = one.is_large, arriving.spool.size * (2 if one.was_kept_waiting else 1)


class _Try:
    """One try of a conversion; a context that holds its place."""

    def __init__(self, converters: Converters, arriving: Arriving, *, is_large: bool) -> None:
        self._converters = converters
        self._arriving = arriving
        self._place = converters.large if is_large else converters.small
        self.is_large = is_large
        self.was_kept_waiting = False

    async def __aenter__(self) -> Self:
        await self._place.take(self._arriving)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._place.give_back()

    async def convert(self, target: Path, wishes: Wishes) -> Conversion:
        """Have a process convert what comes. Raises GaveWay, and what `Converters.convert` raises."""
        spool = self._arriving.spool
        budget = conversion_child.Budget(processor_s=MOST_PROCESSOR_S, processor_s_a_megabyte=PROCESSOR_S_A_MEGABYTE)
        question = conversion_child.question(spool.path, target, wishes, budget)
        news = conversion_child.News()
        try:
            async with self._converters.children.conversation(
                conversion_child.FUNCTION, question, limits=LIMITS, patience_s=START_S
            ) as talk:
                telling = asyncio.create_task(self._tell_growth(talk))
                try:
                    async for said in talk.news():
                        news = conversion_child.News(**orjson.loads(said))
                        wishes.converted(news.rows)
                        self._consider(news)
                finally:
                    telling.cancel()
        except OutOfProcessorTime as error:
            raise budget.exceeded(news.content_bytes) from error
        except TooCostly as error:
            raise refuse(f"reading it is too costly: it {error}") from error
        assert talk.answer is not None  # noqa: S101 - the news have ended
        conversion = conversion_child.conversion_of(talk.answer, spool)
        wishes.converted(conversion.record_count)  # not all news are told
        return conversion

    async def _tell_growth(self, talk: Conversation) -> None:
        """Tell the process how much has come."""
        while True:
            talk.say(orjson.dumps(asdict(conversion_child.Growth(self._arriving.spool.size, self._arriving.is_whole))))
            if self._arriving.is_whole:
                return
            await self._arriving.moved()

    def _consider(self, news: conversion_child.News) -> None:
        """Go over to a place for large files where that is due. Raises GaveWay where there is none, or where others
        wait and the sender does not send."""
        is_large = news.content_bytes > SMALL_BYTES or news.processor_s > SMALL_PROCESSOR_S
        if is_large and not self.is_large:
            self.is_large = True
            if not self._converters.large.take_now():
                raise GaveWay
            self._place.give_back()
            self._place = self._converters.large
        if news.waited_s > PATIENCE_S and self._place.is_wanted:
            self.was_kept_waiting = True
            raise GaveWay
