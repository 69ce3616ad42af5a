"""Work that a run gives up when it is stopped or out of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """Somebody stopped the run before the work was done."""


class OutOfTime(Exception):
    """The run's time limit was reached before the work was done."""


async def unless_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event, *, deadline: float | None = None) -> T:
    """The outcome of `work`; raises Stopped once `stop` is set, or OutOfTime at `deadline` (monotonic seconds). The
    work is cancelled then and has come to its end; what it brought all the same is returned."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    timeout = None if deadline is None else max(deadline - time.monotonic(), 0.0)
    try:
        await asyncio.wait({task, stopped}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled() or task.exception() is not None:
            raise Stopped if stop.is_set() else OutOfTime
        return task.result()
    finally:
        stopped.cancel()
        task.cancel()
