"""Reads a row group with very many columns: a few at a time into temporary files, and then from these row by row.

Of each column that is read a page has to be in memory; side by side, those of thousands of columns are gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any, cast
from weakref import WeakKeyDictionary

import pyarrow as pa
import pyarrow.parquet as pq

HELD_BYTES = 48 * 1024 * 1024
"""Most that the columns read side by side hold of a file, in bytes."""

PAGE_BYTES = 2 * 1024 * 1024
"""A page and what is read ahead of it, in bytes: writers end a page at 1 MiB."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's type, and where its values stand among the file's own columns: of a record, one for each member."""

    kind: pa.DataType
    leaves: range


_KNOWN: WeakKeyDictionary[pq.ParquetFile, dict[str, Column]] = WeakKeyDictionary()


def columns(file: pq.ParquetFile) -> dict[str, Column]:
    """The columns by name; kept, since pyarrow makes the schema anew each time."""
    if file not in _KNOWN:
        found, start = {}, 0
        for field in file.schema_arrow:
            count = _leaf_count(field.type)
            found[field.name] = Column(kind=field.type, leaves=range(start, start + count))
            start += count
        _KNOWN[file] = found
    return _KNOWN[file]


def held_bytes(file: pq.ParquetFile, group: int, names: Sequence[str]) -> dict[str, int]:
    """How much of each column is in memory while it is read."""
    described, known = file.metadata.row_group(group), columns(file)
    return {
        name: sum(min(PAGE_BYTES, described.column(leaf).total_uncompressed_size) for leaf in known[name].leaves)
        for name in names
    }


def batches(
    file: pq.ParquetFile, group: int, names: Sequence[str], *, sizes: Mapping[str, int], rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a row group in order, so many at a time."""
    with ExitStack() as stack:
        readers = []
        for some in _portions(names, sizes):
            spool = stack.enter_context(TemporaryFile())
            sink = pa.PythonFile(cast(Any, spool), mode="w")
            writer: pa.RecordBatchFileWriter | None = None
            for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=some):
                chosen = batch.select(some)
                writer = writer or pa.ipc.new_file(sink, chosen.schema)
                writer.write_batch(chosen)
            if writer is None:
                return  # there are no rows
            writer.close()
            spool.seek(0)
            readers.append(pa.ipc.open_file(pa.PythonFile(cast(Any, spool), mode="r")))
        schema = pa.schema([field for reader in readers for field in reader.schema])
        for number in range(readers[0].num_record_batches):
            arrays = [array for reader in readers for array in reader.get_batch(number).columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _portions(names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The columns in order, as many at a time as may be read side by side."""
    some: list[str] = []
    total = 0
    for name in names:
        if some and total + sizes[name] > HELD_BYTES:
            yield some
            some, total = [], 0
        some.append(name)
        total += sizes[name]
    if some:
        yield some


def _leaf_count(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _leaf_count(kind.storage_type)
    if pa.types.is_nested(kind):
        return sum(_leaf_count(kind.field(number).type) for number in range(kind.num_fields))
    return 1
