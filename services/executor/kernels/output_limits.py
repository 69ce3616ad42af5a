"""How much a cell may put out, and how much all cells of its run: a worker has the outputs of its runs in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

MESSAGES_A_SECOND = 50
"""So many messages more may be sent for each second of the cell's time, or the run's."""


@dataclass(frozen=True, kw_only=True)
class OutputLimits:
    """What may be put out before the cell is interrupted."""

    output_bytes: int
    """Of text and encoded data that are kept."""
    traffic_bytes: int
    """Of outputs, updates of outputs, widgets and progress."""
    messages: int
    """Of any kind; see MESSAGES_A_SECOND."""


CELL_LIMITS = OutputLimits(output_bytes=20_000_000, traffic_bytes=100_000_000, messages=10_000)
"""A cell that goes beyond them is interrupted, and the run goes on by its error policy."""

RUN_LIMITS = OutputLimits(output_bytes=200_000_000, traffic_bytes=1_000_000_000, messages=100_000)
"""A run whose cells go beyond them together ends with that cell."""

MAX_CELL_OUTPUTS = 10_000
"""A cell that puts out more pieces is interrupted."""

MAX_CELL_RECEIVED_BYTES = 2 * CELL_LIMITS.traffic_bytes
"""A cell from which more has come, whatever it is, has its kernel killed at once, in bytes."""


class OutputTally:
    """What has been put out so far, held against limits."""

    def __init__(self, limits: OutputLimits) -> None:
        self._limits = limits
        self._began = time.monotonic()
        self._kept = self._traffic = self._messages = 0

    def add_message(self, size: int) -> bool:
        """Whether a message of `size` bytes is still within the limits."""
        self._traffic += size
        self._messages += 1
        return self._traffic <= self._limits.traffic_bytes and not self._is_flood()

    def add_output(self, size: int) -> bool:
        """Whether an output of `size` bytes may still be kept."""
        self._kept += size
        return self._kept <= self._limits.output_bytes

    def _is_flood(self) -> bool:
        if self._messages <= self._limits.messages:
            return False
        return self._messages > self._limits.messages + MESSAGES_A_SECOND * (time.monotonic() - self._began)
