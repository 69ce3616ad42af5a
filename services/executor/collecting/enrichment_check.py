"""What an enriched dataset changed: the outcome, in words and as members of its entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NAMED = 10
"""Columns named in a warning; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome. `rows_aligned`: both tables have the same cases in the same order, so that values can be compared;
    only then are changed values and rows counted."""

    records_before: int
    rows_lost: int
    rows_added: int
    new_columns: list[str]
    lost_columns: list[str]
    changed_columns: list[dict[str, Any]] = field(default_factory=list)
    rows_aligned: bool = False
    rows_changed: int = 0
    values_changed: int = 0

    def details(self) -> dict[str, Any]:
        """As members of the artifact's entry."""
        return {
            "recordsBefore": self.records_before,
            "rowsLost": self.rows_lost,
            "rowsAdded": self.rows_added,
            "newColumns": self.new_columns,
            "lostColumns": self.lost_columns,
            "changedColumns": self.changed_columns,
            "rowsAligned": self.rows_aligned,
            "rowsChanged": self.rows_changed if self.rows_aligned else None,
            "valuesChanged": self.values_changed if self.rows_aligned else None,
        }

    def warnings(self, name: str) -> list[str]:
        """What the notebook's owner should know."""
        said = []
        before = f"the dataset that it enriches ({self.records_before:,})"
        if self.rows_lost:
            said.append(f"has {self.rows_lost:,} rows fewer than {before}")
        if self.rows_added:
            said.append(f"has {self.rows_added:,} rows more than {before}")
        if self.lost_columns:
            said.append(f"lost {_columns(self.lost_columns)} of the dataset")
        if self.changed_columns:
            said.append(f"changed {_columns([column['name'] for column in self.changed_columns])} of the dataset")
        if self.values_changed:
            said.append(f"changed {_count(self.values_changed, 'value')} in {_count(self.rows_changed, 'row')}")
        if not (self.rows_lost or self.rows_added or self.rows_aligned):
            said.append("has other rows than the dataset, or its rows in another order")
        if not self.new_columns:
            said.append("has no new column")
        return [f"The enriched dataset {name!r} {sentence}." for sentence in said]


def _columns(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"the column{'s' if len(names) > 1 else ''} {shown}{more}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
