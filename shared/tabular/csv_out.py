"""Writes Parquet files as CSV (RFC 4180), batch by batch, so that reading it again gives the same values.

A missing value is empty and an empty text is `""`; numbers have a decimal point, and times are written as they came.
What a text table has no values for is written as a text: lengths of time as `1 days 02:03:04.500000`, bytes in
hexadecimal digits, lists and records as Python shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from shared.tabular import stored, time_layout
from shared.tabular.time_layout import Layout

_NEEDS_QUOTES = r'[",\r\n]'

CANONICAL = Layout()
"""How times are written where nothing is known of how they came."""

_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY_S = 86_400


def csv_chunks(path: Path | pa.NativeFile) -> Iterator[bytes]:
    """A Parquet file as CSV in UTF-8, header first, some thousand rows at a time. Blocks. An open file will do."""
    names = stored.schema(path).names
    noted = time_layout.decode(stored.notes(path))
    layouts = {index: noted[name] for index, name in enumerate(names) if name in noted}
    yield (",".join(_header_cell(name) for name in names) + "\n").encode()
    for batch in stored.batches(path):
        if batch.num_rows:
            yield _rows(batch, layouts)
    pa.default_memory_pool().release_unused()


def _header_cell(name: str) -> str:
    plain = not any(character in name for character in '",\r\n') and name == name.strip() and name
    return name if plain else '"' + name.replace('"', '""') + '"'


def _rows(batch: pa.RecordBatch, layouts: Mapping[int, Layout]) -> bytes:
    cells = [
        pc.cast(_cells(column, layouts.get(index, CANONICAL)), pa.large_string())
        for index, column in enumerate(batch.columns)
    ]
    if len(cells) == 1:
        cells = [pc.fill_null(cells[0], '""')]  # a line without anything would be skipped by every reader
    separator = pa.scalar(",", pa.large_string())
    lines = pc.binary_join_element_wise(*cells, separator, null_handling="replace", null_replacement="")
    grouped = pa.LargeListArray.from_arrays(pa.array([0, len(lines)], pa.int64()), lines)
    text: bytes = pc.binary_join(grouped, pa.scalar("\n", pa.large_string()))[0].as_buffer().to_pybytes()
    return text + b"\n"


def _cells(column: pa.Array, layout: Layout) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _cells(column.dictionary_decode(), layout)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _quoted(pc.cast(column, pa.large_string()))
    if pa.types.is_floating(kind):
        return _decimals(column)
    if pa.types.is_timestamp(kind):
        return time_layout.render(column, layout)
    if pa.types.is_duration(kind):
        return lengths(column)
    if _has_texts(kind):
        return pc.cast(column, pa.string())
    return _quoted(pa.array([_shown(value) for value in column.to_pylist()], pa.large_string()))


def _has_texts(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (
            pa.types.is_null,
            pa.types.is_boolean,
            pa.types.is_integer,
            pa.types.is_decimal,
            pa.types.is_date,
            pa.types.is_time,
        )
    )


def _shown(value: object) -> str | None:
    return value.hex() if isinstance(value, bytes) else None if value is None else str(value)


def _quoted(column: pa.Array) -> pa.Array:
    empty = pc.equal(pc.binary_length(column), 0)
    special = pc.or_(empty, pc.match_substring_regex(column, _NEEDS_QUOTES))
    if not pc.any(special).as_py():
        return column
    escaped = pc.replace_substring(column, '"', '""')
    quote = pa.scalar('"', pa.large_string())
    return pc.if_else(
        special, pc.binary_join_element_wise(quote, escaped, quote, pa.scalar("", pa.large_string())), column
    )


def _decimals(column: pa.Array) -> pa.Array:
    texts = pc.cast(column, pa.string())
    whole = pc.invert(pc.match_substring_regex(texts, r"[.en]"))
    return pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)


def lengths(column: pa.Array) -> pa.Array:
    """Lengths of time as texts: whole days and a time of day, the way pandas writes and reads them."""
    unit = column.type.unit
    ticks = pc.cast(column, pa.int64())
    day = _DAY_S * _TICKS[unit]
    days = pc.divide(ticks, day)
    early = pc.greater(pc.multiply(days, day), ticks)  # division cuts towards zero
    days = pc.if_else(early, pc.subtract(days, 1), days)
    rest = pc.subtract(ticks, pc.multiply(days, day))
    kind = pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    if unit in ("s", "ms"):
        rest = pc.cast(rest, pa.int32())
    texts = pc.cast(rest.cast(kind), pa.string())
    between = pc.if_else(pc.less(days, 0), " days +", " days ")
    return pc.binary_join_element_wise(pc.cast(days, pa.string()), between, texts, "")
