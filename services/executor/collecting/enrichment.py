"""What an enriched dataset changed: held against the dataset that the run read, a few columns at a time.

Values are compared where they can be: when both tables have the same number of rows, and the columns of case, activity
and time hold the same in the same order. Types count as what they mean: pandas turns whole numbers with gaps into
decimals and texts into categories, which changes nothing. A key that is a text now, or was one, is compared as what it
says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.executor.collecting.enrichment_check import Check
from shared.tabular import stored

SOME_COLUMNS = 8
"""Columns compared at a time: what bounds memory."""

Changes = dict[str, pa.ChunkedArray]
"""Of each column of which some row differs, which rows do."""


def check(enriched: Path, bound: Path, key_columns: Sequence[str | None]) -> Check:
    """Compare two Parquet files. `key_columns` tell which rows belong together: case, activity, time. Raises
    pyarrow.ArrowInvalid or OSError for what is no Parquet."""
    with stored.opened(enriched) as after, stored.opened(bound) as before:
        new, old = after.schema_arrow, before.schema_arrow
        counts = before.metadata.num_rows, after.metadata.num_rows
        shared = [name for name in old.names if name in new.names]
        retyped = {name: _type_change(old.field(name).type, new.field(name).type) for name in shared}
        changed = [{"name": name, "change": change} for name, change in retyped.items() if change]
        aligned, rows, values = False, 0, 0
        if counts[0] == counts[1]:
            keys = [name for name in key_columns if name is not None and name in shared]
            comparable = [name for name in shared if retyped[name] is None]
            # Without a key nothing tells which rows belong together, unless nothing at all differs.
            changes = _changes(after, before, keys or comparable)
            aligned = bool(keys or comparable) and not changes
            if aligned and keys:
                changes = _changes(after, before, [name for name in comparable if name not in keys])
                rows, values = _counted(changes)
                changed += [
                    {"name": name, "change": "values", "valuesChanged": _true(mask)} for name, mask in changes.items()
                ]
        return Check(
            records_before=counts[0],
            rows_lost=max(0, counts[0] - counts[1]),
            rows_added=max(0, counts[1] - counts[0]),
            new_columns=[name for name in new.names if name not in old.names],
            lost_columns=[name for name in old.names if name not in new.names],
            changed_columns=sorted(changed, key=lambda column: old.get_field_index(column["name"])),
            rows_aligned=aligned,
            rows_changed=rows,
            values_changed=values,
        )


def _changes(after: pq.ParquetFile, before: pq.ParquetFile, columns: list[str]) -> Changes:
    changes: Changes = {}
    for start in range(0, len(columns), SOME_COLUMNS):
        some = columns[start : start + SOME_COLUMNS]
        masks: dict[str, list[pa.Array]] = {name: [] for name in some}
        for new, old in _side_by_side(stored.bounded(after, some), stored.bounded(before, some)):
            for name in some:
                masks[name].append(_different(new.column(name), old.column(name)))
        for name, parts in masks.items():
            mask = pa.chunked_array(parts, pa.bool_())
            if _true(mask):
                changes[name] = mask
    return changes


def _side_by_side(
    one: Iterator[pa.RecordBatch], other: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """The same rows of both: their batches need not be cut alike."""
    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        rows = min(left.num_rows, right.num_rows)
        if rows:
            yield left.slice(0, rows), right.slice(0, rows)
        left = left.slice(rows) if left.num_rows > rows else next(one, None)
        right = right.slice(rows) if right.num_rows > rows else next(other, None)


def _counted(changes: Changes) -> tuple[int, int]:
    """Rows and values that differ."""
    rows: pa.ChunkedArray | None = None
    for mask in changes.values():
        rows = mask if rows is None else pc.or_(rows, mask)
    return (_true(rows) if rows is not None else 0), sum(_true(mask) for mask in changes.values())


def _true(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _different(new: pa.Array, old: pa.Array) -> pa.Array:
    """Which values are not the same; a missing value is the same as another one."""
    try:
        new, old = _alike(_plain(new), _plain(old))
        if new.equals(old):
            return pa.repeat(pa.scalar(False), len(new))
        unequal = pc.fill_null(pc.not_equal(new, old), False)
        return pc.or_(unequal, pc.xor(pc.is_null(new), pc.is_null(old)))
    except pa.ArrowException:
        return pa.repeat(pa.scalar(True), len(new))


def _alike(new: pa.Array, old: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Both as one type; raises pyarrow.ArrowException where one says what the other cannot."""
    if new.type == old.type:
        return new, old
    if pa.types.is_floating(new.type) or pa.types.is_floating(old.type):
        return new.cast(pa.float64(), safe=False), old.cast(pa.float64(), safe=False)
    if pa.types.is_string(old.type):  # what is a number or a time now is held against the text that it was read from
        return new, old.cast(new.type)
    return new.cast(old.type, safe=False), old


def _plain(values: pa.Array) -> pa.Array:
    """Texts as one type, NaN as missing, times and lengths of time in microseconds."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _plain(values.dictionary_decode())
    if pa.types.is_large_string(kind) or _is_view(kind):
        return values.cast(pa.string())
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    if pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_duration(kind):
        return values.cast(pa.duration("us"), safe=False).cast(pa.int64())
    return values


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind))


def _type_change(old: pa.DataType, new: pa.DataType) -> str | None:
    """In words; None where both mean the same."""
    before, after = _meaning(old), _meaning(new)
    if before == after or {before, after} == {"integer", "number"} or after == "empty":
        return None  # whole numbers with gaps become decimals in pandas; the values tell whether they changed
    return f"{before} became {after}"


def _meaning(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _meaning(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_view(kind):
        return "text"
    if pa.types.is_decimal(kind):
        return "number"
    for word, holds in _MEANINGS.items():
        if holds(kind):
            return word
    return str(kind)


_MEANINGS: dict[str, Callable[[pa.DataType], bool]] = {
    "integer": pa.types.is_integer,
    "number": pa.types.is_floating,
    "truth value": pa.types.is_boolean,
    "time": pa.types.is_timestamp,
    "length of time": pa.types.is_duration,
    "date": pa.types.is_date,
    "empty": pa.types.is_null,
}
