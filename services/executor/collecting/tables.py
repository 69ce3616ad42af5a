"""Enriched datasets in the forms that `outputFormat` asks for; streamed, so that size does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet

from services.executor import wording
from shared.tabular.csv_out import csv_chunks

FORMS: Mapping[str, tuple[str, ...]] = {
    "enriched_dataframe": ("csv", "parquet"),
    "csv": ("csv",),
    "parquet": ("parquet",),
    "none": (),
}
"""Which files an enriched dataset becomes; the first is the default download (SPEC.md: Results)."""

FORMAT_NAME = {"enriched_dataframe": "pandas_dataframe", "csv": "csv", "parquet": "parquet"}
"""What results call the format."""


def shape(parquet: Path) -> tuple[int, list[str]]:
    """Rows and column names; raises pyarrow.ArrowInvalid when the file is no Parquet."""
    file = pyarrow.parquet.ParquetFile(parquet)
    return file.metadata.num_rows, list(file.schema_arrow.names)


def to_csv(parquet: Path, csv: Path, *, max_bytes: int) -> None:
    """Write a Parquet file as CSV, batch by batch, in the same words as a download of a dataset has. Raises ValueError
    when it becomes larger than `max_bytes`: a small Parquet file can hold a value a billion times."""
    size = 0
    with csv.open("wb") as file:
        for chunk in csv_chunks(parquet):
            size += len(chunk)
            if size > max_bytes:
                raise ValueError(f"it is larger than {wording.limit(max_bytes)}")
            file.write(chunk)
