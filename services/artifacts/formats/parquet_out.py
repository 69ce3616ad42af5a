"""Writes the Parquet file of a dataset version: row groups of a bounded size, hashed while they are written."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

GROUP_ROWS = 64 * 1024
"""Rows of one row group: large enough to pack and to read fast."""

GROUP_BYTES = 32 * 1024 * 1024
"""Most of one row group in memory, in bytes: wide tables get fewer rows a group."""


REPEATING = 0.5
"""A column with so many different values a row, or fewer, is stored with a dictionary."""


class ParquetOutput:
    """A Parquet file that is being written, zstd-compressed. A context: complete when left without an exception.

    Row groups are packed in a thread of its own while the next rows are read: each half takes about one processor.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._hashing = _HashingFile(path)
        self._sink = pa.PythonFile(cast(Any, self._hashing), mode="w")
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._packer = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._packing: Future[None] | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._notes: dict[str, str] = {}
        self.row_count = 0

    @property
    def size_bytes(self) -> int:
        """The file's size so far."""
        return self._hashing.size

    @property
    def sha256(self) -> str:
        """The file's hash so far."""
        return self._hashing.hash.hexdigest()

    def write(self, columns: list[pa.Array]) -> None:
        """Add rows: one array a column of the schema."""
        batch = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        self.row_count += batch.num_rows
        if self._waiting_rows >= GROUP_ROWS or self._waiting_bytes >= GROUP_BYTES:
            self._flush()

    def note(self, key: str, value: str) -> None:
        """Add something to the file's own description."""
        self._notes[key] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._wait()
        finally:
            self._packer.shutdown(wait=True)
            try:
                writer = self._writer or self._open(None)
                writer.add_key_value_metadata(self._notes)
                writer.close()
            finally:
                self._sink.close()
                self._hashing.close()

    def _flush(self) -> None:
        self._wait()  # one group being packed and one being gathered: what bounds memory
        if self._waiting_rows:
            group = pa.Table.from_batches(self._waiting)
            self._packing = self._packer.submit(self._pack, group)
        self._waiting = []
        self._waiting_rows = self._waiting_bytes = 0

    def _wait(self) -> None:
        if self._packing is not None:
            packing, self._packing = self._packing, None
            packing.result()

    def _pack(self, group: pa.Table) -> None:
        if self._writer is None:
            self._writer = self._open(group)
        self._writer.write_table(group)

    def _open(self, sample: pa.Table | None) -> pq.ParquetWriter:
        """A writer whose encodings fit the first rows: a dictionary of values that hardly repeat doubles the work."""
        repeating, times = [], {}
        for name in self._schema.names if sample is not None else ():
            column = cast(pa.Table, sample).column(name)
            if pc.count_distinct(column).as_py() <= len(column) * REPEATING:
                repeating.append(name)
            elif pa.types.is_timestamp(column.type):
                times[name] = "DELTA_BINARY_PACKED"
        encodings: dict[str, Any] = {"use_dictionary": repeating or False}
        if times:
            encodings["column_encoding"] = times
        return pq.ParquetWriter(self._sink, self._schema, compression="zstd", **encodings)


class _HashingFile:
    """A file that knows its size and hash; Parquet is written front to back."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Append."""
        self.hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Where the next byte goes."""
        return self.size

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()

    def readable(self) -> bool:
        """Never."""
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._file.close()
