"""How much a cell may put out, and how much all cells of its run: a worker has the outputs of its runs in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

MESSAGES_A_SECOND = 50
"""So many messages more may be sent for each second of the cell's time, or the run's."""

TRAFFIC_A_SECOND = 20_000_000
"""So many bytes more may pass through for each second of the cell's time, or the run's."""

RECEIVED_FACTOR = 2
"""How many times the traffic that is allowed may be received at all, counted before it is read."""


@dataclass(frozen=True, kw_only=True)
class OutputLimits:
    """What may be put out before the cell is interrupted."""

    output_bytes: int
    """Of text and encoded data that are kept: what was cleared, overwritten or replaced counts no more."""
    traffic_bytes: int
    """Of all that comes, kept or not: outputs, updates of outputs, widgets, progress; see TRAFFIC_A_SECOND."""
    messages: int
    """Of any kind; see MESSAGES_A_SECOND."""


CELL_LIMITS = OutputLimits(output_bytes=20_000_000, traffic_bytes=200_000_000, messages=10_000)
"""A cell that goes beyond them is interrupted, and the run goes on by its error policy."""

RUN_LIMITS = OutputLimits(output_bytes=200_000_000, traffic_bytes=2_000_000_000, messages=100_000)
"""A run whose cells go beyond them together ends with that cell."""

MAX_CELL_OUTPUTS = 10_000
"""A cell that keeps more pieces is interrupted."""

Limit = Literal["output", "run_output"]
"""Which limit was reached: the cell's or the run's."""


class OutputTally:
    """What has been put out so far, held against limits."""

    def __init__(self, limits: OutputLimits) -> None:
        self._limits = limits
        self._began = time.monotonic()
        self._kept = self._traffic = self._messages = self._received = 0

    def add_message(self, size: int) -> bool:
        """Count a message of `size` bytes; return whether it is still within the limits."""
        self._traffic += size
        self._messages += 1
        return self._traffic <= self._allowed_traffic() and not self._is_flood()

    def receive(self, size: int) -> bool:
        """Count what has come, read or not; return whether more may come."""
        self._received += size
        return self._received <= RECEIVED_FACTOR * self._allowed_traffic()

    def has_room_for(self, size: int) -> bool:
        """Whether `size` bytes more may be kept."""
        return self._kept + size <= self._limits.output_bytes

    def keep(self, size: int) -> None:
        """Count what is kept; negative where something is given up."""
        self._kept += size

    def _allowed_traffic(self) -> float:
        if self._traffic <= self._limits.traffic_bytes and self._received <= self._limits.traffic_bytes:
            return self._limits.traffic_bytes
        return self._limits.traffic_bytes + TRAFFIC_A_SECOND * (time.monotonic() - self._began)

    def _is_flood(self) -> bool:
        if self._messages <= self._limits.messages:
            return False
        return self._messages > self._limits.messages + MESSAGES_A_SECOND * (time.monotonic() - self._began)


@dataclass(frozen=True)
class Account:
    """The two tallies that an output counts in."""

    cell: OutputTally
    run: OutputTally

    def keep(self, size: int) -> Limit | None:
        """Count `size` bytes more (or fewer) as kept, unless a limit is reached: then nothing is counted."""
        if size > 0:
            if not self.run.has_room_for(size):
                return "run_output"
            if not self.cell.has_room_for(size):
                return "output"
        self.cell.keep(size)
        self.run.keep(size)
        return None

    def add_message(self, size: int) -> Limit | None:
        """Count a message that has come."""
        is_within_run, is_within_cell = self.run.add_message(size), self.cell.add_message(size)
        if not is_within_run:
            return "run_output"
        return None if is_within_cell else "output"
