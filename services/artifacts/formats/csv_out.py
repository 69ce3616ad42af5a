"""Writes stored tables as CSV (RFC 4180), batch by batch, so that reading it again gives the same values.

A missing value is empty and an empty text is `""`; numbers have a decimal point, and times are written as they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from services.artifacts.formats import parquet_in, time_layout
from services.artifacts.formats.time_layout import Layout

_NEEDS_QUOTES = r'[",\r\n]'

CANONICAL = Layout()
"""How times are written where nothing is known of how they came."""


def csv_chunks(path: Path) -> Iterator[bytes]:
    """A Parquet file as CSV in UTF-8, header first, some thousand rows at a time. Blocks."""
    names = parquet_in.schema(path).names
    noted = time_layout.decode(parquet_in.notes(path))
    layouts = {index: noted[name] for index, name in enumerate(names) if name in noted}
    yield (",".join(_header_cell(name) for name in names) + "\n").encode()
    for batch in parquet_in.batches(path):
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
    if pa.types.is_string(kind):
        return _quoted(column)
    if pa.types.is_floating(kind):
        return _decimals(column)
    if pa.types.is_timestamp(kind):
        return time_layout.render(column, layout)
    return pc.cast(column, pa.string())


def _quoted(column: pa.Array) -> pa.Array:
    empty = pc.equal(pc.binary_length(column), 0)
    special = pc.or_(empty, pc.match_substring_regex(column, _NEEDS_QUOTES))
    if not pc.any(special).as_py():
        return column
    escaped = pc.replace_substring(column, '"', '""')
    quote = pa.scalar('"', pa.string())
    return pc.if_else(special, pc.binary_join_element_wise(quote, escaped, quote, ""), column)


def _decimals(column: pa.Array) -> pa.Array:
    texts = pc.cast(column, pa.string())
    whole = pc.invert(pc.match_substring_regex(texts, r"[.en]"))
    return pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
