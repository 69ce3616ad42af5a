"""Slots for child processes, shared so that no owner keeps another from having one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import Unavailable

MOST_WAITING = 32
"""Calls of one owner that may wait; more are refused at once."""

RETRY_AFTER_S = 2
"""When a refused caller should come again, in seconds."""


class ChildSlots:
    """At most `slots` at once, and at most all but one for one owner: the last is kept for others."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._most_of_one = max(1, slots - 1)
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def one(self, owner: str, patience_s: float) -> AsyncIterator[None]:
        """Hold a slot. Raises Unavailable when none comes free in `patience_s` seconds."""
        await self._take(owner, patience_s)
        try:
            yield
        finally:
            self._give_back(owner)

    async def _take(self, owner: str, patience_s: float) -> None:
        if sum(waits == owner for waits, _ in self._waiting) >= MOST_WAITING:
            raise _busy()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (owner, turn)
        self._waiting.append(entry)
        self._grant()
        try:
            async with asyncio.timeout(patience_s):
                await turn
        except BaseException as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif turn.done() and not turn.cancelled():  # granted in the moment of giving up
                self._give_back(owner)
            if isinstance(error, TimeoutError):
                raise _busy() from error
            raise

    def _grant(self) -> None:
        for entry in list(self._waiting):
            owner, turn = entry
            if self._free and self._held[owner] < self._most_of_one:
                self._waiting.remove(entry)
                if not turn.cancelled():
                    self._free -= 1
                    self._held[owner] += 1
                    turn.set_result(None)

    def _give_back(self, owner: str) -> None:
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._grant()


def _busy() -> Unavailable:
    return Unavailable(
        "Too much of yours is being read and compared at the moment; try again shortly.",
        extra={"retryAfter": RETRY_AFTER_S},
    )
