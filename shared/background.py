"""Work that a process does by itself, beside what it is asked: a task from `open` to `close`, woken or by the clock.

Nobody waits for such a task, so nobody would notice its end: what goes wrong is logged, and it goes on after a pause.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

import structlog

from shared.errors import AtelierError

log = structlog.get_logger(__name__)

PUT_OFF_S = 1.0
"""Pause after a dependency was down, in seconds: they come back within seconds."""

LONGEST_PAUSE_S = 60.0
"""Pauses after errors that nobody expected double from one second up to this, in seconds: no help comes soon, and the
log should stay readable."""


class Background(ABC):
    """A part of a process (see shared.process.Part). Derive from it and write `work`, which bears being cancelled at
    every await, and being called again after any error."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    async def open(self) -> None:
        """Start working."""
        self._task = asyncio.create_task(self._live())

    async def close(self) -> None:
        """Stop where it is; what is left is done by another process or after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    @abstractmethod
    async def work(self) -> float:
        """Do what there is to do; returns in how many seconds to look again, unless woken before."""

    async def _live(self) -> None:
        failures = 0
        while True:
            try:
                pause = await self.work()
                failures = 0
            except AtelierError as error:
                log.warning("put off", work=type(self).__name__, reason=error.detail)
                pause = PUT_OFF_S
            except Exception:
                # What failed once must neither end all further work nor fill the log.
                log.exception("background work failed", work=type(self).__name__)
                pause = min(2.0**failures, LONGEST_PAUSE_S)
                failures = min(failures + 1, 10)
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """Pause until it is woken, for so many seconds at most. Woken while it worked, it does not pause at all."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()
