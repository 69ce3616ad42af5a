"""The events of an XES log on their way: held until their trace is complete, handed out in bounded batches."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import pyarrow as pa

from services.artifacts.formats.tables import TextBatch

BATCH_EVENTS = 20_000
"""Events of one batch."""

LATE_EVENTS = 50_000
"""Events of an unfinished trace that are kept back at most: an attribute of the trace may follow them."""

BATCH_BYTES = 16 * 1024 * 1024
"""Texts and cells of one batch, in bytes: attributes of a trace are there once for each of its events."""

LATE_BYTES = 32 * 1024 * 1024
"""Events that are kept back at most, in bytes; those of an unfinished trace go then, too."""

CELL_BYTES = 4
"""What a cell takes beside its text, also where an event has no such attribute."""

VALUE_BYTES, EVENT_BYTES = 60, 400
"""What a value and an event take beside their texts while they are held."""


@dataclass
class Record:
    """The attributes of a trace or an event, and how much they take."""

    values: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def set(self, name: str, value: str) -> None:
        """Give an attribute its value."""
        before = self.values.get(name)
        self.size += len(value) + VALUE_BYTES if before is None else len(value) - len(before)
        self.values[sys.intern(name)] = value


class Events:
    """The events that are held, in order, each with its trace; an attribute that a trace gets late is there as well."""

    def __init__(self) -> None:
        self.columns: dict[str, None] = {}
        self.texts: set[str] = set()
        """Columns that the log declares to be text."""
        self.some_are_gone = False
        """Whether events of the trace in hand were handed out already."""
        self._rows: list[tuple[Record, Record]] = []
        self._size = 0
        self._finished = 0  # of the rows, so many belong to traces that have ended

    @property
    def held(self) -> int:
        """How many there are."""
        return len(self._rows)

    @property
    def are_many(self) -> bool:
        """Whether it is time to take a batch."""
        late = len(self._rows) - self._finished >= LATE_EVENTS or self._size >= LATE_BYTES
        return late or self._finished >= BATCH_EVENTS or (self._finished > 0 and self._size >= BATCH_BYTES)

    def add(self, trace: Record, event: Record) -> None:
        """Another event of the trace in hand."""
        self._name_columns(trace)
        self._name_columns(event)
        self._rows.append((trace, event))
        self._size += _size(trace, event)

    def end_trace(self, trace: Record) -> None:
        """The trace in hand is over."""
        self._name_columns(trace)
        self._finished = len(self._rows)
        self.some_are_gone = False

    def take(self) -> TextBatch:
        """The next events of traces that have ended; of the trace in hand when those that are held get too many."""
        names = list(self.columns)
        most = self._finished or len(self._rows)
        count = size = 0
        for trace, event in self._rows[:most]:
            count, size = count + 1, size + _size(trace, event) + CELL_BYTES * len(names)
            if count >= BATCH_EVENTS or size >= BATCH_BYTES:
                break
        rows, self._rows = self._rows[:count], self._rows[count:]
        self.some_are_gone = self.some_are_gone or count > self._finished
        self._finished = max(0, self._finished - count)
        self._size = self._size - sum(_size(trace, event) for trace, event in rows) if self._rows else 0
        return TextBatch(
            names=names,
            columns=[_column(rows, name) for name in names],
            row_count=len(rows),
            texts=frozenset(self.texts),
        )

    def _name_columns(self, record: Record) -> None:
        for name in record.values:
            self.columns.setdefault(name)


def _size(trace: Record, event: Record) -> int:
    return EVENT_BYTES + trace.size + event.size


def _column(rows: list[tuple[Record, Record]], name: str) -> pa.Array:
    values = (event.values if name in event.values else trace.values for trace, event in rows)
    return pa.array([each.get(name) for each in values], pa.string())
