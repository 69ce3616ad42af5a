"""Watch over one dependency: known to be away within a second, and not because this machine is busy.

Nothing is sent while the dependency answers quickly. When something has waited for it for QUIET_S, it is pinged on a
way of its own; whoever waits is let go when the ping is refused, or is not answered in SILENCE_S. Silence counts only
while this process's own loop was awake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import structlog

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

QUIET_S = 0.25
"""How long something waits before the dependency is pinged, and the pause between pings, in seconds."""

SILENCE_S = 0.75
"""A ping that was not answered for so long means that the dependency is away, in seconds."""

LONGEST_SILENCE_S = 5.0
"""The same where this process hardly gets to run, in seconds."""

STEP_S = 0.05
"""Silence is counted in steps of so many seconds; one that took twice as long was our own delay, and does not count."""

FRESH_S = 0.5
"""A dependency that was heard so many seconds ago is there: a write is sent without asking first."""

T = TypeVar("T")


class Watch:
    """Whether `what` (as a sentence's subject) answers. `ping` returns when it has, and raises when it is refused."""

    def __init__(self, what: str, ping: Callable[[], Awaitable[object]]) -> None:
        self.away = False
        self._what = what
        self._ping = ping
        self._heard_at = float("-inf")
        self._uses: dict[object, tuple[float, Callable[[], object]]] = {}
        self._waiting: list[asyncio.Future[bool]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._probing: asyncio.Task[None] | None = None

    def heard(self) -> None:
        """Note that the dependency has just answered something."""
        self._heard_at = asyncio.get_running_loop().time()

    def refuse_if_away(self) -> None:
        """Raise Unavailable when the dependency is known to be away."""
        if self.away:
            raise Unavailable(f"{self._what} does not answer; try again shortly.")

    async def ensure(self) -> None:
        """Return when the dependency has just answered; raises Unavailable."""
        self.refuse_if_away()
        loop = asyncio.get_running_loop()
        if loop.time() - self._heard_at < FRESH_S:
            return
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(waiter)
        self._probe()
        await waiter
        self.refuse_if_away()

    async def guard(self, work: Awaitable[T]) -> T:
        """Wait for `work`, which is cancelled when the dependency is away; raises Unavailable then."""
        task = asyncio.ensure_future(work)
        with self.use(task.cancel):
            try:
                return await task
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if self.away and not (current is not None and current.cancelling()):
                    self.refuse_if_away()
                raise

    @contextmanager
    def use(self, cut: Callable[[], object]) -> Iterator[None]:
        """Something waits for the dependency; `cut` ends the wait when it is away."""
        key = object()
        loop = asyncio.get_running_loop()
        self._uses[key] = (loop.time(), cut)
        if self._timer is None:
            self._timer = loop.call_later(QUIET_S, self._look)
        try:
            yield
        finally:
            del self._uses[key]

    async def close(self) -> None:
        """Ping no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing

    def _look(self) -> None:
        """Called QUIET_S after something began to wait."""
        self._timer = None
        if self._is_kept_waiting():
            self._probe()
        if self._uses:
            self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._look)

    def _is_kept_waiting(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(now - since >= QUIET_S for since, _ in self._uses.values())

    def _probe(self) -> None:
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._until_it_answers())

    async def _until_it_answers(self) -> None:
        """Ping as long as somebody wants to know, or the dependency is away."""
        try:
            while True:
                answers = await self._answers()
                if answers:
                    self.heard()
                if self.away == answers:
                    log.warning("a dependency is back" if answers else "a dependency is away", dependency=self._what)
                self.away = not answers
                if self.away:
                    for _, cut in list(self._uses.values()):
                        cut()
                for waiter in self._waiting:
                    if not waiter.done():
                        waiter.set_result(answers)
                self._waiting.clear()
                if answers:
                    return
                await asyncio.sleep(QUIET_S)
        finally:
            for waiter in self._waiting:
                waiter.cancel()

    async def _answers(self) -> bool:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(self._ping())
        began, silence = loop.time(), 0.0
        try:
            while silence < SILENCE_S and loop.time() - began < LONGEST_SILENCE_S:
                step = loop.time()
                await asyncio.wait({task}, timeout=STEP_S)
                if task.done():
                    return task.exception() is None
                if loop.time() - step < 2 * STEP_S:
                    silence += STEP_S
            return False
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=STEP_S)
