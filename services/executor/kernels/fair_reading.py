"""Shares out a worker's time among the kernels whose messages it reads: one that floods it must not hold up the others.

A kernel whose messages are left unread for a moment waits (`forkserver.outlet`); nothing is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 0.1
"""Of the worker's time, for reading the messages of one run while there are others."""

BURST_S = 0.2
"""What a run may take before that, in seconds of reading: a thousand outputs or more."""

AT_ONCE_S, MESSAGES_AT_ONCE = 0.002, 16
"""How long one kernel's messages are read, and how many, before others get their turn."""

PAUSE_S = 0.25
"""How long a kernel is left unread at a time, in seconds: a cancelled one must be heard."""


class FairReading:
    """One per worker."""

    def __init__(self) -> None:
        self._runs = 0

    @contextmanager
    def take_part(self) -> Iterator[Turn]:
        """For as long as a run is in hand."""
        self._runs += 1
        try:
            yield Turn(self)
        finally:
            self._runs -= 1

    @property
    def share(self) -> float:
        """Of the time, for each run."""
        return SHARE if self._runs > 1 else 1.0


class Turn:
    """One run's part."""

    def __init__(self, reading: FairReading) -> None:
        self._reading = reading
        self._left_s = BURST_S
        self._counted_at = time.monotonic()
        self._at_once_s, self._messages = 0.0, 0

    def spend(self, seconds: float) -> None:
        """Note that reading a message has taken so long."""
        self._left_s -= seconds
        self._at_once_s += seconds
        self._messages += 1

    @property
    def is_over(self) -> bool:
        """Whether it is others' turn."""
        return self._at_once_s >= AT_ONCE_S or self._messages >= MESSAGES_AT_ONCE

    async def pass_on(self, *, may_wait: bool) -> None:
        """Let others have their turn; where this run has had more than its share and its kernel may wait, for long."""
        self._at_once_s, self._messages = 0.0, 0
        share, now = self._reading.share, time.monotonic()
        self._left_s = min(self._left_s + share * (now - self._counted_at), BURST_S)
        self._counted_at = now
        await asyncio.sleep(min(max(-self._left_s / share, 0.0), PAUSE_S) if may_wait else 0)
