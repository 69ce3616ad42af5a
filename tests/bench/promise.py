"""One promise in figures: all repeats, its bar and its verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One row: the figures of all repeats, and what the largest of them (or their median) may be."""

    name: str
    figures: list[float]
    bar: float | None
    """None where the figure only tells about the machine."""
    unit: str = "s"
    by_median: bool = False
    fault: str | None = None
    """Why it could not be measured; then it is not met."""

    @property
    def figure(self) -> float:
        """What is held against the bar."""
        if self.fault is not None:
            return math.inf
        return statistics.median(self.figures) if self.by_median else max(self.figures)

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.fault is None and (self.bar is None or self.figure <= self.bar)


async def promise(
    name: str,
    measure: Callable[[], Awaitable[float]],
    repeats: int,
    *,
    bar: float | None,
    unit: str = "s",
    by_median: bool = False,
) -> Promise:
    """Measure so often; what fails to be measured is a row too, so that the others are not lost."""
    figures: list[float] = []
    fault = None
    try:
        figures = [await measure() for _ in range(repeats)]
    except (RuntimeError, AssertionError, TimeoutError) as error:
        fault = f"{type(error).__name__} {error}".strip()
    return Promise(name=name, figures=figures, bar=bar, unit=unit, by_median=by_median, fault=fault)
