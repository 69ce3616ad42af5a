"""The first rows of a dataset version: read from storage by byte ranges, so that its size does not matter."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from services.artifacts.formats.exact_values import exact
from services.artifacts.remote_file import RemoteFile
from shared.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CELLS = 200_000
"""Values of a preview at most; a very wide table shows fewer rows."""

MOST_BYTES = 8 * 1024 * 1024
"""JSON of a preview at most, in bytes; a table with very long values shows fewer rows, but one."""

READ_AHEAD_BYTES = 256 * 1024
"""Fetched at once at least, in bytes: a request costs more than that many bytes do."""


async def first_rows(objects: ObjectStore, readers: Executor, key: str, size: int, wanted: int) -> list[dict[str, Any]]:
    """Up to `wanted` rows of a stored Parquet object of `size` bytes; raises NotFound or Unavailable."""
    remote = RemoteFile(objects, key, size, ahead=READ_AHEAD_BYTES)
    return await asyncio.get_running_loop().run_in_executor(readers, _first_rows, remote, wanted)


def _first_rows(remote: RemoteFile, wanted: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    total = 0
    with pq.ParquetFile(pa.PythonFile(remote, mode="r"), pre_buffer=False, buffer_size=READ_AHEAD_BYTES) as file:
        limit = max(1, min(wanted, MOST_CELLS // max(1, len(file.schema_arrow.names))))
        for row in chain.from_iterable(groups_of_rows(file, limit)):
            total += len(orjson.dumps(row))
            if len(rows) == limit or (rows and total > MOST_BYTES):
                break
            rows.append(row)
    return rows


def groups_of_rows(file: pq.ParquetFile, limit: int) -> Iterator[list[dict[str, Any]]]:
    """The rows, from one row group at a time: what is stored was written in groups of bounded size (`parquet_out`)."""
    for group in range(file.num_row_groups):
        for batch in file.iter_batches(batch_size=limit, row_groups=[group], use_threads=False):
            columns = [exact(column) for column in batch.columns]
            yield [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
