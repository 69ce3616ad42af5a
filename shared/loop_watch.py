"""A watch over a process's event loop: how late it is, and how much of that its own work has cost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from prometheus_client import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S = 0.1
"""How often the loop is looked at, in seconds."""

_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)

LATE_SECONDS = Histogram(
    "atelier_event_loop_late_seconds", "How much later than asked for the event loop came", buckets=_BUCKETS
)
HELD_UP_SECONDS = Histogram(
    "atelier_event_loop_held_up_seconds",
    "Processor time that the process used while its event loop came late: its own work, not a busy machine's",
    buckets=_BUCKETS,
)


class LoopWatch:
    """Looks at the running loop from `start` to `stop`."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, processor: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._processor = clock, processor
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._handle = asyncio.get_running_loop().call_later(EVERY_S, self._look, self._clock(), self._processor())

    def stop(self) -> None:
        """End the watch."""
        if self._handle is not None:
            self._handle.cancel()

    def _look(self, clock: float, processor: float) -> None:
        late = max(self._clock() - clock - EVERY_S, 0.0)
        LATE_SECONDS.observe(late)
        HELD_UP_SECONDS.observe(min(late, self._processor() - processor))
        self.start()
