"""Event logs of any size: generated as CSV, and compared with their Parquet value by value, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

BLOCK_ROWS = 200_000
"""Rows in memory at a time."""

ACTIVITIES = pa.array(["Register", "Check credit", "Pick", "Pack", "Ship", "Invoice", "Remind", "Pay", "Return", "End"])


def generate(path: Path, rows: int) -> None:
    """A log of ten events a case, the same for the same number of rows."""
    schema = pa.schema(
        {
            "case_id": pa.string(),
            "activity": pa.string(),
            "timestamp": pa.string(),
            "resource": pa.string(),
            "cost": pa.float64(),
            "items": pa.int64(),
        }
    )
    options = arrow_csv.WriteOptions(quoting_style="none")
    with arrow_csv.CSVWriter(path, schema, write_options=options) as writer:
        for start in range(0, rows, BLOCK_ROWS):
            numbers = range(start, min(rows, start + BLOCK_ROWS))
            spread = [n * 48_271 % 2_147_483_647 for n in numbers]
            moments = pa.array([1_577_836_800 + n // 10 * 60 + n % 10 * 3_600 for n in numbers], pa.timestamp("s"))
            columns = [
                pa.array([f"case-{n // 10:09}" for n in numbers]),
                ACTIVITIES.take(pa.array([n % 10 for n in numbers])),
                pc.strftime(moments, format="%Y-%m-%d %H:%M:%S"),
                pa.array([f"user-{one % 500}" for one in spread]),
                pa.array([one % 1_000_000 / 100 for one in spread]),
                pa.array([one % 17 for one in spread]),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def compare(csv: Path, parquet: Path) -> int:
    """The number of rows; raises RuntimeError when the two files do not hold the same values in the same order."""
    file = pq.ParquetFile(parquet)
    types = {field.name: field.type for field in file.schema_arrow}
    reader = arrow_csv.open_csv(
        csv,
        read_options=arrow_csv.ReadOptions(block_size=8 << 20),
        convert_options=arrow_csv.ConvertOptions(column_types=types),
    )
    rows = 0
    left = pa.Table.from_batches([], schema=file.schema_arrow)
    stored = file.iter_batches(batch_size=BLOCK_ROWS)
    for batch in reader:
        while left.num_rows < batch.num_rows:
            following = next(stored, None)
            if following is None:
                raise RuntimeError(f"the CSV has more rows than the Parquet, which ends after {rows + left.num_rows}")
            left = pa.concat_tables([left, pa.Table.from_batches([following])]).combine_chunks()
        here = left.slice(0, batch.num_rows).combine_chunks().to_batches()[0]
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if not column.equals(here.column(name)):
                raise RuntimeError(f"column {name!r} differs within the rows from {rows}")
        rows += batch.num_rows
        left = left.slice(batch.num_rows)
    if left.num_rows or rows != file.metadata.num_rows:
        raise RuntimeError(f"the CSV has {rows} rows, the Parquet {file.metadata.num_rows}")
    return rows
