"""Reads stored Parquet files in bounded memory, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 16 * 1024
"""Rows read at once."""

BUFFER_BYTES = 1024 * 1024
"""Read buffer of one column, in bytes: pages are read as they are needed, not whole row groups."""

METADATA_LIMIT_BYTES = 64 * 1024 * 1024
"""Most that a file's own description may take, in bytes: a hostile one claims gigabytes."""


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
        yield from file.iter_batches(batch_size=BATCH_ROWS)


def column(path: Path, name: str) -> Iterator[pa.Array]:
    """One column."""
    position = int(schema(path).get_field_index(name))
    with opened(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[file.schema.column(position).path]):
            yield batch.column(0)


def columns(path: Path) -> Iterator[Iterator[pa.Array]]:
    """Every column, one after the other. The file is opened once: with thousands of columns its description takes
    longer to read than a column."""
    with opened(path) as file:
        for position in range(len(file.schema_arrow.names)):
            name = file.schema.column(position).path
            yield (batch.column(0) for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[name]))


def schema(path: Path | pa.NativeFile) -> pa.Schema:
    """The columns."""
    with opened(path) as file:
        return file.schema_arrow


def notes(path: Path | pa.NativeFile) -> dict[bytes, bytes]:
    """What the file says of itself beside its columns."""
    with opened(path) as file:
        return dict(file.metadata.metadata or {})
