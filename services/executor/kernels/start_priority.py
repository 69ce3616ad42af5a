"""The priority of a kernel's start: low while it is made in advance, as usual from when a run waits for it."""

from __future__ import annotations

from services.executor.kernels.metering import Meter


class StartPriority:
    """Of one kernel. Where control groups cannot be had it changes nothing."""

    def __init__(self, *, low: bool) -> None:
        self._low = low
        self._meter: Meter | None = None

    def apply_to(self, meter: Meter) -> None:
        """To be called when the kernel's process is there."""
        self._meter = meter
        if self._low:
            meter.give_way(gives_way=True)

    def raise_to_usual(self) -> None:
        """From now on it counts as much as any other kernel."""
        if self._low:
            self._low = False
            if self._meter is not None:
                self._meter.give_way(gives_way=False)
