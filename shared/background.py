"""Work that a process does by itself, beside what it is asked: a task from `open` to `close`, woken or by the clock."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod


class Background(ABC):
    """A part of a process (see shared.process.Part). Derive from it and write `run`, which never returns and bears
    being cancelled at every await."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    async def open(self) -> None:
        """Start working."""
        self._task = asyncio.create_task(self.run())

    async def close(self) -> None:
        """Stop where it is; what is left is done by another process or after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    @abstractmethod
    async def run(self) -> None:
        """Work for ever."""

    async def rest(self, seconds: float) -> None:
        """Pause until it is woken, for so many seconds at most. Woken while it worked, it does not pause at all."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            self._woken.clear()
