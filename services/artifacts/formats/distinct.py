"""Counts the distinct values of a column while its batches pass by, exactly and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

MEMORY_BYTES = 48 * 1024 * 1024
"""Distinct values kept in memory; a column with more is counted afterwards in slices, in bytes."""

PENDING_VALUES = 200_000
"""New values that are collected before they are merged: merging costs as much as the values already there."""

SLICES = 32
"""Into how many parts the values are divided when they do not fit in memory at once; a power of two."""

_CODES = pa.array([chr(code) for code in range(0x21, 0x7F)])
"""The characters that names and numbers end in."""

Reread = Callable[[], Iterator[pa.Array]]
"""Reads the whole column again, batch by batch."""


class Distinct:
    """A running count. Missing values do not count."""

    def __init__(self) -> None:
        self._seen: pa.Array | None = None
        self._pending: list[pa.Array] = []
        self._pending_count = 0
        self.overflown = False

    def add(self, column: pa.Array) -> None:
        """See some more values."""
        if self.overflown:
            return
        fresh = pc.unique(column.drop_null())
        self._pending.append(fresh)
        self._pending_count += len(fresh)
        if self._pending_count >= max(PENDING_VALUES, len(self._seen or ())):
            self._merge()

    def count(self, reread: Reread) -> int:
        """How many there are; reads the column again, once a slice, when they were too many for memory."""
        if not self.overflown:
            self._merge()
        if not self.overflown:
            return len(self._seen) if self._seen is not None else 0
        return sum(_count_slice(reread, part) for part in range(SLICES))

    def _merge(self) -> None:
        parts = [self._seen, *self._pending] if self._seen is not None else self._pending
        if parts:
            self._seen = pc.unique(pa.chunked_array(parts))
        self._pending, self._pending_count = [], 0
        if self._seen is not None and self._seen.nbytes > MEMORY_BYTES:
            self._seen, self.overflown = None, True


def _count_slice(reread: Reread, part: int) -> int:
    seen: pa.Array | None = None
    for column in reread():
        present = column.drop_null()
        fresh = pc.unique(present.filter(pc.equal(slice_of(present), part)))
        seen = fresh if seen is None else pc.unique(pa.chunked_array([seen, fresh]))
    return len(seen) if seen is not None else 0


def slice_of(column: pa.Array) -> pa.Array:
    """Which slice each value belongs to: a function of the last two characters, in which ids differ most."""
    texts = pc.cast(column, pa.string())
    last = _codes(pc.utf8_slice_codeunits(texts, -1))
    previous = _codes(pc.utf8_slice_codeunits(texts, -2, -1))
    return pc.bit_wise_and(pc.add(pc.multiply(last, 7), previous), SLICES - 1)


def _codes(characters: pa.Array) -> pa.Array:
    return pc.fill_null(pc.index_in(characters, value_set=_CODES), 0)
