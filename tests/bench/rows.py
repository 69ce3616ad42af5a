"""What the bench hands around: the two sides, and a row of the table with its bar and verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from deploy.local import Stack
from tests.bench.peer import Papermill
from tests.support.api import Api


@dataclass(frozen=True, kw_only=True)
class Sides:
    """This system, its peer, and how much of each is measured."""

    stack: Stack
    api: Api
    peer: Papermill
    repeats: int
    runs: int
    peer_runs: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured promise. `at_most`: the bar is a ceiling, not a floor."""

    name: str
    ours: str
    theirs: str
    figure: float
    unit: str
    bar: float
    at_most: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.figure <= self.bar if self.at_most else self.figure >= self.bar

    def answer(self) -> dict[str, Any]:
        """As bench.json has it."""
        return {"figure": round(self.figure, 3), "unit": self.unit, "bar": self.bar, "met": self.met, **self.details}


Measure = Callable[[Sides], Awaitable[list[Row]]]
"""Measures some rows; `__main__.MEASURES` lists all."""


def table(rows: list[Row], *, peer: str = "papermill") -> Table:
    """The rows for people to read."""
    shown = Table("what", "ours", peer, "figure", "bar", "verdict")
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        verdict = "met" if row.met else "NOT MET"
        digits = 1 if row.bar >= 1 else 2
        figure, bar = f"{row.figure:.{digits}f}{row.unit}", f"{sign} {row.bar:g}{row.unit}"
        shown.add_row(row.name, row.ours, row.theirs, figure, bar, verdict)
    return shown
