"""Tables that a kernel hands back as CSV with column types, because it has no Parquet writer: made Parquet, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

BLOCK_BYTES = 8 * 1024 * 1024
"""How much is read at a time, in bytes; a row must fit."""

TYPES: Mapping[str, tuple[pa.DataType, pa.DataType]] = {
    "boolean": (pa.bool_(), pa.bool_()),
    "integer": (pa.int64(), pa.int64()),
    "number": (pa.int64(), pa.float64()),
    "string": (pa.string(), pa.string()),
    "date": (pa.int32(), pa.date32()),
    "timestamp": (pa.int64(), pa.timestamp("us")),
    "instant": (pa.int64(), pa.timestamp("us", "UTC")),
}
"""Each type a column may have: how it is written in the CSV file (dates as days, times as microseconds since 1970,
numbers as the integers that have their bits, which keeps every digit), and its type in Parquet."""


def to_parquet(csv: Path, parquet: Path, types: Sequence[str]) -> None:
    """Write `csv` as Parquet, block by block; raises ValueError or OSError when the file is not as its record says."""
    unknown = sorted(set(types) - set(TYPES))
    if unknown:
        raise ValueError(f"there is no column type {unknown[0]!r}; there are: {', '.join(TYPES)}")
    names = _header(csv)
    if len(names) != len(types):
        raise ValueError(f"the file has {len(names)} columns, its record names the types of {len(types)}")
    if len(set(names)) < len(names):
        raise ValueError("two of its columns have one name")
    read, kept = zip(*(TYPES[one] for one in types), strict=True) if types else ((), ())
    schema = pa.schema([pa.field(name, kind) for name, kind in zip(names, kept, strict=True)])
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict(zip(names, read, strict=True)),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    reader = pyarrow.csv.open_csv(csv, read_options=_options(), parse_options=_dialect(), convert_options=convert)
    with reader, pyarrow.parquet.ParquetWriter(parquet, schema, compression="zstd") as writer:
        for batch in reader:
            arrays = [_kept(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _kept(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column.view(kind) if pa.types.is_floating(kind) else column.cast(kind)


def _header(csv: Path) -> list[str]:
    """The column names, which are the first row; pyarrow needs them to be told their types."""
    with pyarrow.csv.open_csv(
        csv,
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=_dialect(),
        convert_options=pyarrow.csv.ConvertOptions(auto_dict_encode=False),
    ) as reader:
        return list(reader.schema.names)


def _options() -> pyarrow.csv.ReadOptions:
    return pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)


def _dialect() -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
