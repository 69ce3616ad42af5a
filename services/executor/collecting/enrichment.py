"""What an enriched dataset changed: held against the dataset that the run read, column by column, in batches.

Values are compared where they can be: when both tables have the same number of rows and the same cases in the same
order. Types count as what they mean: pandas turns whole numbers with gaps into decimals and texts into categories,
which changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_ROWS = 65_536
"""Rows compared at a time."""

NAMED = 10
"""Columns named in a warning; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome."""

    records_before: int
    rows_lost: int
    rows_added: int
    new_columns: list[str]
    lost_columns: list[str]
    changed_columns: list[dict[str, str]] = field(default_factory=list)
    rows_aligned: bool = False

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
        }

    def warnings(self, name: str) -> list[str]:
        """What the notebook's owner should know."""
        said = []
        if self.rows_lost:
            said.append(
                f"has {self.rows_lost:,} rows fewer than the dataset that it enriches ({self.records_before:,})"
            )
        if self.rows_added:
            said.append(
                f"has {self.rows_added:,} rows more than the dataset that it enriches ({self.records_before:,})"
            )
        if self.lost_columns:
            said.append(f"lost {_columns(self.lost_columns)} of the dataset")
        if self.changed_columns:
            said.append(f"changed {_columns([column['name'] for column in self.changed_columns])} of the dataset")
        if not (self.rows_lost or self.rows_added or self.rows_aligned):
            said.append("has the rows of the dataset in another order")
        if not self.new_columns:
            said.append("has no new column")
        return [f"The enriched dataset {name!r} {sentence}." for sentence in said]


def check(enriched: Path, bound: Path, key_columns: Sequence[str | None]) -> Check:
    """Compare two Parquet files. `key_columns` tell which rows belong together: case, activity, time. Raises
    pyarrow.ArrowInvalid or OSError for what is no Parquet."""
    with pq.ParquetFile(enriched) as after, pq.ParquetFile(bound) as before:
        new, old = after.schema_arrow, before.schema_arrow
        counts = before.metadata.num_rows, after.metadata.num_rows
        shared = [name for name in old.names if name in new.names]
        changed = {name: _type_change(old.field(name).type, new.field(name).type) for name in shared}
        comparable = [name for name in shared if changed[name] is None]
        aligned = False
        if counts[0] == counts[1]:
            different = _different(after, before, comparable)
            aligned = not any(key in different for key in key_columns if key is not None)
            if aligned:
                changed |= dict.fromkeys(different, "values")
        return Check(
            records_before=counts[0],
            rows_lost=max(0, counts[0] - counts[1]),
            rows_added=max(0, counts[1] - counts[0]),
            new_columns=[name for name in new.names if name not in old.names],
            lost_columns=[name for name in old.names if name not in new.names],
            changed_columns=[{"name": name, "change": change} for name, change in changed.items() if change],
            rows_aligned=aligned,
        )


def _different(after: pq.ParquetFile, before: pq.ParquetFile, columns: list[str]) -> set[str]:
    """Those of the columns of which some row differs; stops to look at a column at its first difference."""
    left, different = list(columns), set[str]()
    if not left:
        return different
    pairs = zip(_batches(after, left), _batches(before, left), strict=True)
    for new, old in pairs:
        for name in left:
            if not _same(new.column(name), old.column(name)):
                different.add(name)
        left = [name for name in left if name not in different]
        if not left:
            break
    return different


def _batches(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of exactly BATCH_ROWS rows, but for the last: row groups need not be cut alike."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= BATCH_ROWS:
            table = pa.Table.from_batches(waiting).combine_chunks()
            yield table.slice(0, BATCH_ROWS).to_batches()[0]
            rest = table.slice(BATCH_ROWS)
            waiting, rows = rest.to_batches(), rest.num_rows
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]


def _same(new: pa.Array, old: pa.Array) -> bool:
    try:
        new, old = _plain(new), _plain(old)
        if new.type != old.type:
            if pa.types.is_floating(new.type) or pa.types.is_floating(old.type):
                new, old = new.cast(pa.float64(), safe=False), old.cast(pa.float64(), safe=False)
            else:
                new = new.cast(old.type, safe=False)
    except pa.ArrowException:
        return False
    if new.null_count != old.null_count:
        return False
    equal: bool = new.equals(old)
    return equal


def _plain(values: pa.Array) -> pa.Array:
    """Texts as one type, NaN as missing, times in microseconds."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _plain(values.dictionary_decode())
    if pa.types.is_large_string(kind) or _is_view(kind):
        return values.cast(pa.string()) if values.nbytes < 2**31 else values
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    if pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", kind.tz), safe=False)
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
    "date": pa.types.is_date,
    "empty": pa.types.is_null,
}


def _columns(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"the column{'s' if len(names) > 1 else ''} {shown}{more}"
