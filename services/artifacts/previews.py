"""The first rows of a dataset version: read from storage by byte ranges, so that its size does not matter."""

from __future__ import annotations

import asyncio
import io
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from services.artifacts.formats.exact_values import exact
from shared.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CELLS = 200_000
"""Values of a preview at most; a very wide table shows fewer rows."""

MOST_BYTES = 8 * 1024 * 1024
"""JSON of a preview at most, in bytes; a table with very long values shows fewer rows, but one."""

READ_AHEAD_BYTES = 256 * 1024
"""Fetched at once at least, in bytes: a request costs more than that many bytes do."""


async def first_rows(objects: ObjectStore, key: str, size: int, wanted: int) -> list[dict[str, Any]]:
    """Up to `wanted` rows of a stored Parquet object of `size` bytes; raises NotFound or Unavailable."""
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(_first_rows, _Remote(objects, key, size, loop), wanted)


def _first_rows(remote: _Remote, wanted: int) -> list[dict[str, Any]]:
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


class _Remote(io.RawIOBase):
    """An object as a file to read from in a thread, with a little read ahead."""

    def __init__(self, objects: ObjectStore, key: str, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._objects, self._key, self._size, self._loop = objects, key, size, loop
        self._position = 0
        self._held, self._held_from = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._position + size)
        if self._position >= end:
            return b""
        if not (self._held_from <= self._position and end <= self._held_from + len(self._held)):
            length = min(max(end - self._position, READ_AHEAD_BYTES), self._size - self._position)
            fetch = self._objects.get_range(self._key, self._position, length)
            self._held = asyncio.run_coroutine_threadsafe(fetch, self._loop).result()
            self._held_from = self._position
        start = self._position - self._held_from
        piece = self._held[start : start + end - self._position]
        self._position += len(piece)
        return piece
