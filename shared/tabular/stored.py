"""Reads stored Parquet files batch by batch, in memory that no shape of a table and no length of its values drives up.

A batch is cut by bytes, not by rows alone, and lies within one row group. What a file says of its size is what it takes
packed: a text that repeats is packed once. So a few values are read first, to see how long they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shared.tabular import regrouping

BATCH_ROWS = 16 * 1024
"""Rows read at once, at most."""

BATCH_BYTES = 8 * 1024 * 1024
"""Values read at once, in bytes; one row may be longer. Writing them as text takes some six times as much."""

TRIED_ROWS = 32
"""Rows that are read first where texts may be packed."""

BUFFER_BYTES = 256 * 1024
"""Read buffer of one column, in bytes: pages are read as they are needed, not whole row groups."""

METADATA_LIMIT_BYTES = 64 * 1024 * 1024
"""Most that a file's own description may take, in bytes: a hostile one claims gigabytes."""

_PLAIN = frozenset({"PLAIN", "RLE", "BIT_PACKED", "DELTA_LENGTH_BYTE_ARRAY"})
"""Encodings in which a text takes at least its own length."""


def opened(path: Path | pa.NativeFile) -> pq.ParquetFile:
    """A Parquet file to read from, whoever wrote it; raises pyarrow.ArrowInvalid or OSError when it is damaged."""
    file = pq.ParquetFile(
        path,
        buffer_size=BUFFER_BYTES,
        pre_buffer=False,
        thrift_string_size_limit=METADATA_LIMIT_BYTES,
        thrift_container_size_limit=METADATA_LIMIT_BYTES,
    )
    if not isinstance(path, Path):  # it may be far away: pyarrow's threads, which all share, must not wait for it
        file.iter_batches = partial(file.iter_batches, use_threads=False)
    return file


def batches(path: Path | pa.NativeFile) -> Iterator[pa.RecordBatch]:
    """The rows in order."""
    with opened(path) as file:
        yield from bounded(file)


def bounded(file: pq.ParquetFile, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of an open file in order, of all columns or of those that are named."""
    wanted = list(regrouping.columns(file) if names is None else names)
    for group in range(file.num_row_groups):
        sizes = regrouping.held_bytes(file, group, wanted)
        rows = rows_at_once(file, group, wanted)
        if sum(sizes.values()) > regrouping.HELD_BYTES:
            found = regrouping.batches(file, group, wanted, sizes=sizes, rows=rows)
        else:
            found = file.iter_batches(batch_size=rows, row_groups=[group], columns=None if names is None else wanted)
        for batch in found:
            yield from _pieces(batch.select(wanted) if batch.schema.names != wanted else batch)


def rows_at_once(file: pq.ParquetFile, group: int, names: Sequence[str]) -> int:
    """How many rows of a row group come to BATCH_BYTES in these columns."""
    described = file.metadata.row_group(group)
    if not described.num_rows:
        return 1
    known = regrouping.columns(file)
    fixed, plain, packed = 0.0, 0.0, []
    for name in names:
        kind = known[name].kind
        if _is_fixed(kind):
            fixed += kind.bit_width / 8
            continue
        chunks = [described.column(position) for position in known[name].leaves]
        plain += sum(chunk.total_uncompressed_size for chunk in chunks) / described.num_rows
        if not all(_PLAIN.issuperset(chunk.encodings) for chunk in chunks):
            packed.append(name)
    tried = _tried_bytes(file, group, packed) if packed else 0.0
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES // max(1.0, fixed + max(plain, tried)))))


def column(path: Path, name: str) -> Iterator[pa.Array]:
    """One column."""
    with opened(path) as file:
        yield from _column(file, name)


def columns(path: Path) -> Iterator[Iterator[pa.Array]]:
    """Every column, one after the other. The file is opened once: with thousands of columns its description takes
    longer to read than a column."""
    with opened(path) as file:
        for name in regrouping.columns(file):
            yield _column(file, name)


def schema(path: Path | pa.NativeFile) -> pa.Schema:
    """The columns."""
    with opened(path) as file:
        return file.schema_arrow


def notes(path: Path | pa.NativeFile) -> dict[bytes, bytes]:
    """What the file says of itself beside its columns."""
    with opened(path) as file:
        return dict(file.metadata.metadata or {})


def _column(file: pq.ParquetFile, name: str) -> Iterator[pa.Array]:
    """Across row groups where values are short by their type: thousands of columns in small groups take long else."""
    if not _is_fixed(regrouping.columns(file)[name].kind):
        for batch in bounded(file, [name]):
            yield batch.column(0)
        return
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[name]):
        yield batch.column(name)


def _is_fixed(kind: pa.DataType) -> bool:
    """Whether each value takes the same room."""
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind))


def _tried_bytes(file: pq.ParquetFile, group: int, names: list[str]) -> float:
    """Bytes of a row in these columns, unpacked, by the first of the group."""
    for batch in file.iter_batches(batch_size=TRIED_ROWS, row_groups=[group], columns=names):
        unpacked = (
            values.dictionary_decode() if pa.types.is_dictionary(values.type) else values for values in batch.columns
        )
        return float(sum(values.nbytes for values in unpacked) / batch.num_rows)
    return 0.0


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch, halved where it came out much larger than its first values let expect."""
    if batch.num_rows < 2 or batch.nbytes <= 2 * BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    for piece in (batch.slice(0, half), batch.slice(half)):
        # Values that all rows share, such as those of a category, do not get fewer.
        yield from _pieces(piece) if piece.nbytes < batch.nbytes else (piece,)
