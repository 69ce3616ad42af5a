"""Has a run that takes many processors give way to the others.

Each kernel's control group has the same share, but the scheduler holds to it only once it has spread the group's
processes among the processors: with hundreds of them that takes longer than most runs. A run alone loses nothing.
"""

from __future__ import annotations

import time

from services.executor.kernels.metering import Meter

LOOK_S = 0.05
"""Pause between two looks, in seconds."""

MANY, FEW = 1.2, 0.5
"""A run that takes more processors than `MANY` gives way until it takes less than `FEW` for `CALM_S`. Between the two
it may be that others leave it no more."""

CALM_S = 1.0


class Demand:
    """Of one run."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._gives_way = False
        self._looked_at = self._modest_since = time.monotonic()
        self._used = meter.cpu_seconds()

    def look(self) -> None:
        """See how much the run takes; to be called every LOOK_S."""
        now, used = time.monotonic(), self._meter.cpu_seconds()
        if used is None or self._used is None:
            return
        processors = (used - self._used) / max(now - self._looked_at, LOOK_S)
        self._looked_at, self._used = now, used
        if processors >= FEW:
            self._modest_since = now
        if processors > MANY:
            self._change(gives_way=True)
        elif now - self._modest_since >= CALM_S:
            self._change(gives_way=False)

    def _change(self, *, gives_way: bool) -> None:
        if gives_way != self._gives_way:
            self._gives_way = gives_way
            self._meter.give_way(gives_way=gives_way)
