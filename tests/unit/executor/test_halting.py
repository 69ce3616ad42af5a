"""Work that is given up: nothing of it goes on, and nothing that it brought is lost."""

from __future__ import annotations

import asyncio
import time

import pytest

from services.executor.running.halting import OutOfTime, Stopped, unless_stopped


class Work:
    """Runs until it is let go or cancelled."""

    def __init__(self, *, ends_with: Exception | None = None, answers_all_the_same: bool = False) -> None:
        self.go = asyncio.Event()
        self.began = asyncio.Event()
        self.cancelled = False
        self._ends_with = ends_with
        self._answers = answers_all_the_same

    async def run(self) -> str:
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if self._ends_with is not None:
                raise self._ends_with from None
            if not self._answers:
                raise
        return "done"


async def test_work_that_ends_first_is_answered() -> None:
    work = Work()
    work.go.set()
    assert await unless_stopped(work.run(), asyncio.Event(), deadline=time.monotonic() + 60) == "done"


async def test_a_failure_is_passed_on() -> None:
    async def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await unless_stopped(fail(), asyncio.Event())


@pytest.mark.parametrize("ends_with", [None, OSError("while cleaning up")])
async def test_stopping_ends_the_work(ends_with: Exception | None) -> None:
    work, stop = Work(ends_with=ends_with), asyncio.Event()
    waiting = asyncio.create_task(unless_stopped(work.run(), stop))
    await work.began.wait()
    stop.set()
    with pytest.raises(Stopped):
        await waiting
    assert work.cancelled


async def test_what_the_work_brought_all_the_same_is_not_lost() -> None:
    work, stop = Work(answers_all_the_same=True), asyncio.Event()
    waiting = asyncio.create_task(unless_stopped(work.run(), stop))
    await work.began.wait()
    stop.set()
    assert await waiting == "done"


async def test_the_deadline_ends_the_work() -> None:
    work = Work()
    with pytest.raises(OutOfTime):
        await unless_stopped(work.run(), asyncio.Event(), deadline=time.monotonic() + 0.01)
    assert work.cancelled


async def test_cancelling_the_waiter_ends_the_work() -> None:
    work = Work()
    waiting = asyncio.create_task(unless_stopped(work.run(), asyncio.Event()))
    await work.began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert work.cancelled
