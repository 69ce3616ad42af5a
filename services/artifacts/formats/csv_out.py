"""Writes stored tables as CSV (RFC 4180), batch by batch, so that reading it again gives the same values.

A missing value is empty and an empty text is `""`; numbers keep their decimal point and times their fraction.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from services.artifacts.formats import parquet_in

_NEEDS_QUOTES = r'[",\r\n]'
_MOST_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DIGITS = {"s": (), "ms": (0,), "us": (3, 0), "ns": (6, 3, 0)}
"""How many digits of a second a unit has, and to how many fewer a text may be cut."""

_SECONDS_LENGTH = len("2011-10-11 13:45:40")


def csv_chunks(path: Path) -> Iterator[bytes]:
    """A Parquet file as CSV in UTF-8, header first, some thousand rows at a time. Blocks."""
    names = parquet_in.schema(path).names
    yield (",".join(_header_cell(name) for name in names) + "\n").encode()
    for batch in parquet_in.batches(path):
        if batch.num_rows:
            yield _rows(batch)
    pa.default_memory_pool().release_unused()


def _header_cell(name: str) -> str:
    plain = not any(character in name for character in '",\r\n') and name == name.strip() and name
    return name if plain else '"' + name.replace('"', '""') + '"'


def _rows(batch: pa.RecordBatch) -> bytes:
    cells = [pc.cast(_cells(column), pa.large_string()) for column in batch.columns]
    if len(cells) == 1:
        cells = [pc.fill_null(cells[0], '""')]  # a line without anything would be skipped by every reader
    separator = pa.scalar(",", pa.large_string())
    lines = pc.binary_join_element_wise(*cells, separator, null_handling="replace", null_replacement="")
    grouped = pa.LargeListArray.from_arrays(pa.array([0, len(lines)], pa.int64()), lines)
    text: bytes = pc.binary_join(grouped, pa.scalar("\n", pa.large_string()))[0].as_buffer().to_pybytes()
    return text + b"\n"


def _cells(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind):
        return _quoted(column)
    if pa.types.is_floating(kind):
        return _decimals(column)
    if pa.types.is_timestamp(kind):
        return _times(column)
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


def _times(column: pa.Array) -> pa.Array:
    """Times as `2011-10-11 13:45:40.276`: as many digits of the second as the value needs, in groups of three, and the
    zone: `Z` for UTC, else the offset that held then."""
    unit, zone = column.type.unit, column.type.tz
    wall = column if zone is None else pc.local_timestamp(column)
    texts = pc.cast(wall, pa.string())
    ticks = pc.cast(wall, pa.int64())
    for digits in _DIGITS[unit]:
        divisor = 10 ** (_MOST_DIGITS[unit] - digits)
        length = _SECONDS_LENGTH + (digits + 1 if digits else 0)
        round_value = pc.equal(pc.multiply(pc.divide(ticks, divisor), divisor), ticks)
        texts = pc.if_else(round_value, pc.utf8_slice_codeunits(texts, 0, length), texts)
    if zone is None:
        return texts
    suffix = pa.scalar("Z", pa.string()) if zone == "UTC" else pc.strftime(column, format="%z")
    return pc.binary_join_element_wise(texts, suffix, "")
