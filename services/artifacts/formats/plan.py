"""The columns of a text table as they will be stored: a kind and a form for each that fit every value seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa

from services.artifacts.formats import text_forms
from services.artifacts.formats.conversion import Writing
from services.artifacts.formats.kinds import Kind
from services.artifacts.formats.tables import TextBatch
from services.artifacts.formats.text_forms import ISO, PLAIN, Form, Way
from shared.tabular import time_layout

TIMESTAMPS = frozenset({Kind.TIMESTAMP, Kind.TIMESTAMP_NS, Kind.INSTANT, Kind.INSTANT_NS})
_TIMES = TIMESTAMPS | {Kind.DATE, Kind.TIME_TEXT}


@dataclass
class Plan:
    """Kinds and forms; a kind only ever gets wider. A file has one decimal character: `1.234` beside `1,5` may be a
    thousand, so it stays a text."""

    writing: Writing
    commas_possible: bool
    check: Callable[[], None] = lambda: None  # called for each column, whose look may take a while; may raise
    names: list[str] = field(default_factory=list)
    kinds: dict[str, Kind] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)
    decimal: str | None = None
    ambiguous: dict[str, list[Way]] = field(default_factory=dict)
    """Columns of text that may be times in several ways so far, such as `01/02/2020`: a later row may tell which."""

    def __post_init__(self) -> None:
        self.decimal = self.writing.decimal

    def columns(self) -> list[tuple[str, str]]:
        """Name and type of each column, as the API says them."""
        return [(name, self.kinds[name].logical) for name in self.names]

    def schema(self) -> pa.Schema:
        """The Parquet file's columns."""
        return pa.schema([(name, self.kinds[name].arrow) for name in self.names])

    def description(self) -> dict[str, object]:
        """How numbers and times are written, for the record."""
        times = {name: self.forms[name].time_format or ISO for name in self.names if self.kinds[name] in _TIMES}
        return {"decimal": self.decimal or ".", "timeFormats": times}

    def survey(self, batch: TextBatch) -> None:
        """Take another batch into account."""
        for name, column in zip(batch.names, batch.columns, strict=True):
            self.check()
            self._widen(name, column, text=name in batch.texts)
        self._agree_on_decimals()

    def typed(self, batch: TextBatch) -> list[pa.Array] | None:
        """The batch's columns as the plan stores them, or None when something does not fit the plan, or tells what an
        ambiguous column is; whoever asks surveys the batch then."""
        given = dict(zip(batch.names, batch.columns, strict=True))
        if any(name not in self.kinds for name in given):
            return None
        for name in list(self.ambiguous):
            left = text_forms.narrowed(self.ambiguous[name], given[name]) if name in given else self.ambiguous[name]
            if len(left) == 1:
                return None
            self._keep_open(name, left)
        columns = []
        for name in self.names:
            self.check()
            kind = self.kinds[name]
            column = given.get(name)
            if column is None:
                columns.append(pa.nulls(batch.row_count, kind.arrow))
                continue
            if name in batch.texts and kind is not Kind.STRING and column.null_count < len(column):
                return None
            typed = self.forms[name].read(column, kind)
            if typed is None:
                return None
            columns.append(typed)
        return columns

    def observers(self) -> dict[str, time_layout.Observer]:
        """One for each column of times that are written in ISO 8601."""
        return {
            name: time_layout.Observer()
            for name in self.names
            if self.kinds[name] in TIMESTAMPS and self.forms[name].is_plain
        }

    def _widen(self, name: str, column: pa.Array, *, text: bool) -> None:
        if name not in self.kinds:
            self.names.append(name)
            self.kinds[name], self.forms[name] = Kind.EMPTY, PLAIN
        kind, form = self.kinds[name], self.forms[name]
        if name in self.ambiguous and not text:
            self._settle(name, column)
            return
        self.ambiguous.pop(name, None)
        if form.read(column, kind) is None:
            ways = self._infer(column)
            if kind is Kind.EMPTY and not text:
                self._keep_open(name, ways)
            kind, form = text_forms.join((kind, form), ways[0] if len(ways) == 1 else (Kind.STRING, PLAIN))
        has_text = text and column.null_count < len(column)  # an empty text is a value, too
        if has_text or form.read(column, kind) is None:
            kind, form = Kind.STRING, PLAIN
        self.kinds[name], self.forms[name] = kind, form

    def _settle(self, name: str, column: pa.Array) -> None:
        """Take more values of an ambiguous column into account."""
        left = text_forms.narrowed(self.ambiguous[name], column)
        if len(left) == 1:
            self.kinds[name], self.forms[name] = left[0]
        self._keep_open(name, left)

    def _keep_open(self, name: str, ways: list[Way]) -> None:
        self.ambiguous.pop(name, None)
        if len(ways) > 1:
            self.ambiguous[name] = ways

    def _infer(self, column: pa.Array) -> list[Way]:
        return text_forms.infer(
            column,
            commas=self.decimal == "," or (self.decimal is None and self.commas_possible),
            points=self.decimal != ",",
            time_format=self.writing.time_format,
        )

    def _agree_on_decimals(self) -> None:
        if self.decimal is None:
            commas = any(form.decimal == "," for form in self.forms.values())
            points = any(self.kinds[name] is Kind.NUMBER and self.forms[name].is_plain for name in self.names)
            self.decimal = "," if commas else "." if points else None
        for name in self.names if self.decimal == "," else ():
            if self.kinds[name] is Kind.NUMBER and self.forms[name].is_plain:
                self.kinds[name] = Kind.STRING
