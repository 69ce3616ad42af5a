"""Enriched datasets in the forms that `outputFormat` asks for; streamed, so that size does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from services.executor import wording

FORMS: Mapping[str, tuple[str, ...]] = {
    "enriched_dataframe": ("csv", "parquet"),
    "csv": ("csv",),
    "parquet": ("parquet",),
    "none": (),
}
"""Which files an enriched dataset becomes; the first is the default download (SPEC.md: Results)."""

FORMAT_NAME = {"enriched_dataframe": "pandas_dataframe", "csv": "csv", "parquet": "parquet"}
"""What results call the format."""

BATCH_ROWS = 65_536
"""Rows converted at a time."""


def shape(parquet: Path) -> tuple[int, list[str]]:
    """Rows and column names; raises pyarrow.ArrowInvalid when the file is no Parquet."""
    file = pyarrow.parquet.ParquetFile(parquet)
    return file.metadata.num_rows, list(file.schema_arrow.names)


def to_csv(parquet: Path, csv: Path, *, max_bytes: int) -> None:
    """Write a Parquet file as CSV, batch by batch; nested columns are written as text. Raises ValueError when it
    becomes larger than `max_bytes`: a small Parquet file can hold a value a billion times."""
    file = pyarrow.parquet.ParquetFile(parquet)
    schema = pa.schema([_flat(field) for field in file.schema_arrow])
    with pyarrow.csv.CSVWriter(csv, schema) as writer:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            columns = [
                column if column.type == field.type else _as_text(column)
                for column, field in zip(batch.columns, schema, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            if csv.stat().st_size > max_bytes:
                raise ValueError(f"it is larger than {wording.limit(max_bytes)}")


def _flat(field: pa.Field) -> pa.Field:
    if pa.types.is_nested(field.type) or pa.types.is_dictionary(field.type):
        return pa.field(field.name, pa.string())
    return field


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode().cast(pa.string())
    return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
