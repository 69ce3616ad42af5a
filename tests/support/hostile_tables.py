"""Parquet files that are small and hold very much."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS, LENGTH = 200_000, 100_000
"""Of `bomb`: so many rows with a text of so many characters, 20 GB in all."""


def bomb(path: Path) -> Path:
    """A few kilobytes: short texts first, so that nothing warns of the long ones."""
    short, long = pa.array(["x", "y" * LENGTH]), pa.int32()
    few = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, long), short)
    many = pa.DictionaryArray.from_arrays(pa.array([1] * (ROWS - 1_000), long), short)
    pq.write_table(pa.table({"a": pa.chunked_array([few, many])}), path, compression="zstd", store_schema=False)
    return path
