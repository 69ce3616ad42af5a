"""What the values of a stored table are like, column by column, in bounded memory however many there are.

Distinct values are counted exactly while they are few; beyond that the smallest of their hashes are kept, whose spread
tells how many there are (k minimum values: Bar-Yossef et al., 2002). Frequent values are counted by keeping the most
frequent so far (lossy counting: Manku and Motwani, 2002).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from services.artifacts.formats.exact_values import exact
from shared.tabular import stored

SMALLEST_HASHES = 8_192
"""Hashes kept of a column: the estimate's standard error is one in the square root of that, 1.1 percent."""

COUNTED_VALUES = 20_000
"""Values of a column counted at once; the rarer half goes when they are more."""

MERGE_AT = 100_000
"""Counts that are gathered before they are added up."""

LONGEST_BYTES = 1_000
"""Longer texts are cut in a profile, in bytes before the cut at a character."""

HASH_BITS = 64
"""Width of a hash, and of the numbers that are hashed by their bits."""

TOP = 10
"""Most frequent values that are told."""


def profile(path: Path, columns: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The profile of every column of a stored file, as members of `ColumnProfile`. Blocks."""
    held = stored.columns(path)
    return [_column(name, logical, batches) for (name, logical), batches in zip(columns, held, strict=True)]


def _column(name: str, logical: str, batches: Iterator[pa.Array]) -> dict[str, Any]:
    nulls = 0
    least: pa.Array | None = None
    most: pa.Array | None = None
    distinct, counts = DistinctEstimate(), Counts()
    kind: pa.DataType = pa.null()
    for batch in batches:
        nulls += batch.null_count
        present = batch.drop_null()
        if not len(present):
            continue
        kind = present.type
        if pa.types.is_duration(kind):
            present = present.view(pa.int64())  # there are no comparisons of lengths of time
        bounds = pc.min_max(present)
        least, most = _bound(pc.min, least, bounds["min"]), _bound(pc.max, most, bounds["max"])
        shown = _shortened(present)
        if pa.types.is_float64(shown.type):
            shown = shown.view(pa.int64())  # by their bits: grouping doubles is slow beyond reason
        found = pc.value_counts(shown)
        longer = pa.types.is_string(present.type) and shown is not present
        distinct.add(pc.unique(present) if longer else found.field("values"))
        counts.add(found)
    ends = [exact(_shortened(end).view(kind))[0] if end is not None else None for end in (least, most)]
    distinct_count, is_exact = distinct.count()
    return {
        "name": name,
        "type": logical,
        "null_count": nulls,
        "distinct_count": distinct_count,
        "distinct_is_exact": is_exact,
        "min": ends[0],
        "max": ends[1],
        "top_values": counts.top(kind),
        "top_is_exact": counts.exact,
    }


def _bound(choose: Any, so_far: pa.Array | None, new: pa.Scalar) -> pa.Array:
    """The lesser or greater of two, as an array of one: a scalar of nanoseconds cannot be had as a Python value."""
    one = pa.repeat(new, 1)
    return one if so_far is None else pa.repeat(choose(pa.concat_arrays([so_far, one])), 1)


def _shortened(column: pa.Array) -> pa.Array:
    if not pa.types.is_string(column.type) or pc.max(pc.binary_length(column)).as_py() <= LONGEST_BYTES:
        return column
    return pc.utf8_slice_codeunits(column, 0, LONGEST_BYTES)


class DistinctEstimate:
    """How many different values pass by."""

    def __init__(self) -> None:
        self._hashes = pa.array([], pa.int64())
        self._full = False

    def add(self, values: pa.Array) -> None:
        """Take values into account; best without repetitions."""
        fresh = _hashes(values)
        if self._full:
            fresh = fresh.filter(pc.less(fresh, self._hashes[-1]))
        if not len(fresh):
            return
        merged = pc.unique(pa.concat_arrays([self._hashes, fresh]))
        self._hashes = merged.take(pc.sort_indices(merged)).slice(0, SMALLEST_HASHES)
        self._full = len(merged) > SMALLEST_HASHES or self._full

    def count(self) -> tuple[int, bool]:
        """The number, and whether it is exact."""
        if not self._full:
            return len(self._hashes), True
        share = (self._hashes[-1].as_py() + 2**63) / 2**64
        return round((SMALLEST_HASHES - 1) / share), False


def _hashes(values: pa.Array) -> pa.Array:
    """A 64-bit hash of each value, evenly spread: numbers by mixing their bits, the rest by Python's own (SipHash)."""
    if pa.types.is_primitive(values.type) and values.type.bit_width == HASH_BITS:
        return _mixed(values)
    texts = values if pa.types.is_string(values.type) else pc.cast(values, pa.string())
    hashed = array("q", map(hash, texts.cast(pa.binary()).to_pylist()))
    return pa.Array.from_buffers(pa.int64(), len(hashed), [None, pa.py_buffer(hashed)])


def _mixed(values: pa.Array) -> pa.Array:
    """The finisher of SplitMix64 (Steele et al., 2014), which turns different bits into different, even ones."""
    bits = pa.Array.from_buffers(pa.uint64(), len(values), [None, values.buffers()[1]], offset=values.offset)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = pc.bit_wise_xor(bits, pc.shift_right(bits, pa.scalar(shift, pa.uint64())))
        bits = pc.multiply(bits, pa.scalar(factor, pa.uint64()))
    return pc.bit_wise_xor(bits, pc.shift_right(bits, pa.scalar(31, pa.uint64()))).view(pa.int64())


class Counts:
    """How often the frequent values occur."""

    def __init__(self) -> None:
        self._pending: list[pa.StructArray] = []
        self._pending_count = 0
        self.exact = True

    def add(self, found: pa.StructArray) -> None:
        """Take the counts of a batch into account: structs of `values` and `counts`."""
        self._pending.append(found)
        self._pending_count += len(found)
        if self._pending_count >= MERGE_AT:
            self._merge()

    def top(self, kind: pa.DataType) -> list[dict[str, Any]]:
        """The most frequent values, in falling order, as values of `kind`."""
        if not self._pending:
            return []
        self._merge()
        (found,) = self._pending
        values, counts = found.field("values"), found.field("counts")
        order = pc.sort_indices(counts, sort_keys=[("", "descending")]).slice(0, TOP)
        return [
            {"value": value, "count": count}
            for value, count in zip(exact(values.take(order).view(kind)), counts.take(order).to_pylist(), strict=True)
        ]

    def _merge(self) -> None:
        values = pa.chunked_array([found.field("values") for found in self._pending])
        counts = pa.chunked_array([found.field("counts") for found in self._pending])
        summed = pa.table({"value": values, "count": counts}).group_by("value", use_threads=False)
        table = summed.aggregate([("count", "sum")]).combine_chunks()
        if table.num_rows > COUNTED_VALUES:
            order = pc.select_k_unstable(table, COUNTED_VALUES // 2, [("count_sum", "descending")])
            table = table.take(order)
            self.exact = False
        self._pending = [
            pa.StructArray.from_arrays(
                [table.column("value").combine_chunks(), table.column("count_sum").combine_chunks()],
                names=["values", "counts"],
            )
        ]
        self._pending_count = table.num_rows
