"""Event logs of any size: generated as CSV, and compared with what became of them value by value, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

BLOCK_ROWS = 200_000
"""Rows in memory at a time."""

TAX = 1.21
"""What the enriched copy multiplies each cost with."""

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


def compare(log: Path, csv: Path, parquet: Path) -> int:
    """The number of rows; raises RuntimeError unless both forms of the enriched copy hold the same values in the same
    order, those of the log among them, and the new column is what was computed."""
    file = pq.ParquetFile(parquet)
    types = {field.name: field.type for field in file.schema_arrow}
    rows = 0
    for one, _ in _side_by_side(_read(csv, types), file.iter_batches(batch_size=BLOCK_ROWS)):
        rows += int(one.num_rows)
    for one, other in _side_by_side(_read(log, types), _read(csv, types)):
        taxed = pc.multiply(one.column("cost"), TAX)
        if set(other.schema.names) != {*one.schema.names, "cost_with_tax"}:
            raise RuntimeError(f"the enriched copy has the columns {other.schema.names}")
        if not other.column("cost_with_tax").equals(taxed):
            raise RuntimeError("column 'cost_with_tax' is not the cost with tax")
    return rows


def _read(csv: Path, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    reading = arrow_csv.ReadOptions(block_size=8 << 20)
    converting = arrow_csv.ConvertOptions(column_types=types)
    yield from arrow_csv.open_csv(csv, read_options=reading, convert_options=converting)


def _side_by_side(
    ones: Iterator[pa.RecordBatch], others: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """The same rows of both; raises RuntimeError where a column of the first differs, or one has more rows."""
    rows, left = 0, pa.table({})
    for one in ones:
        while left.num_rows < one.num_rows:
            following = next(others, None)
            if following is None:
                raise RuntimeError(f"the second has only {rows + left.num_rows} rows")
            more = pa.Table.from_batches([following])
            left = pa.concat_tables([left, more]).combine_chunks() if left.num_rows else more
        other = left.slice(0, one.num_rows).combine_chunks().to_batches()[0]
        for name in one.schema.names:
            if not one.column(name).equals(other.column(name)):
                raise RuntimeError(f"column {name!r} differs within the rows from {rows}")
        yield one, other
        rows += one.num_rows
        left = left.slice(one.num_rows)
    if left.num_rows or next(others, None) is not None:
        raise RuntimeError(f"the first has only {rows} rows")
