"""Counts the distinct values of a column while its batches pass by, exactly and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

MEMORY_BYTES = 48 * 1024 * 1024
"""Distinct values kept in memory; a column with more is counted afterwards in slices, in bytes."""

FRESH_VALUES = 200_000
"""New values that are collected before they are divided among the parts."""

PARTS = 8
"""Into how many parts the values in memory are divided, a power of two: merging takes some times the memory of what it
merges."""

SLICES = 32
"""Into how many parts the values are divided when they do not fit in memory at once; a power of two."""

_CODES = pa.array([chr(code) for code in range(0x21, 0x7F)])
"""The characters that names and numbers end in."""

Reread = Callable[[], Iterator[pa.Array]]
"""Reads the whole column again, batch by batch."""


class Distinct:
    """A running count. Missing values do not count."""

    def __init__(self) -> None:
        self._parts = [_Part() for _ in range(PARTS)]
        self._fresh: list[pa.Array] = []
        self._fresh_count = 0
        self.overflown = False

    def add(self, column: pa.Array) -> None:
        """See some more values."""
        if self.overflown:
            return
        fresh = pc.unique(column.drop_null())
        self._fresh.append(fresh)
        self._fresh_count += len(fresh)
        if self._fresh_count >= FRESH_VALUES:
            self._divide()

    def count(self, reread: Reread) -> int:
        """How many there are; reads the column again, once a slice, when they were too many for memory."""
        if not self.overflown:
            self._divide()
        if self.overflown:
            return sum(_count_slice(reread, number) for number in range(SLICES))
        return sum(part.count() for part in self._parts)

    def _divide(self) -> None:
        if not self._fresh:
            return
        values = pa.concat_arrays(self._fresh)
        self._fresh, self._fresh_count = [], 0
        places = pc.bit_wise_and(slice_of(values), PARTS - 1)
        for number, part in enumerate(self._parts):
            part.add(values.filter(pc.equal(places, number)))
        if sum(part.nbytes for part in self._parts) > MEMORY_BYTES:
            self._parts, self.overflown = [], True


class _Part:
    """Some of the values. What is new waits until there is as much of it as was there: merging looks at everything."""

    def __init__(self) -> None:
        self._seen: pa.Array | None = None
        self._waiting: list[pa.Array] = []
        self._waiting_count = 0

    @property
    def nbytes(self) -> int:
        """What it takes of the memory, in bytes."""
        return sum(values.nbytes for values in self._all())

    def add(self, values: pa.Array) -> None:
        """Take new values, or some that are there already."""
        self._waiting.append(values)
        self._waiting_count += len(values)
        if self._waiting_count >= len(self._seen or ()):
            self.count()

    def count(self) -> int:
        """How many different ones there are."""
        if not self._waiting:
            return len(self._seen or ())
        self._seen = pc.unique(pa.chunked_array(self._all()))
        self._waiting, self._waiting_count = [], 0
        return len(self._seen)

    def _all(self) -> list[pa.Array]:
        return [*([self._seen] if self._seen is not None else []), *self._waiting]


def _count_slice(reread: Reread, number: int) -> int:
    part = _Part()
    for column in reread():
        present = column.drop_null()
        part.add(pc.unique(present.filter(pc.equal(slice_of(present), number))))
    return part.count()


def slice_of(column: pa.Array) -> pa.Array:
    """Which slice each value belongs to: a function of the last two characters, in which ids differ most."""
    texts = pc.cast(column, pa.string())
    last = _codes(pc.utf8_slice_codeunits(texts, -1))
    previous = _codes(pc.utf8_slice_codeunits(texts, -2, -1))
    return pc.bit_wise_and(pc.add(pc.multiply(last, 7), previous), SLICES - 1)


def _codes(characters: pa.Array) -> pa.Array:
    return pc.fill_null(pc.index_in(characters, value_set=_CODES), 0)
