"""An enriched dataset has the same values in CSV and in Parquet, in the words that downloads of datasets use."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.executor.collecting import tables
from tests.unit.artifacts.conversions import Workbench

MOMENT = datetime(2020, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)

READ_BACK = pa.table(
    {
        "case": pa.array(["a", 'b "quoted", with a comma', "two\nlines"]),
        "empty": pa.array(["", None, " "]),
        "whole": pa.array([3.0, -0.0, None], pa.float64()),
        "number": pa.array([1e300, 0.1, 1 / 3], pa.float64()),
        "integer": pa.array([2**62, None, -1], pa.int64()),
        "flag": pa.array([True, False, None]),
        "day": pa.array([date(2020, 1, 1), None, date(1999, 12, 31)]),
        "moment": pa.array([MOMENT, MOMENT, None], pa.timestamp("us", "UTC")),
        "wall": pa.array([datetime(2020, 1, 1, 12), None, datetime(2021, 1, 1)], pa.timestamp("us")),  # noqa: DTZ001
    }
)
"""Columns that a text table can hold; they come back as what they were."""


def as_csv(folder: Path, table: pa.Table, *, max_bytes: int = 1_000_000) -> bytes:
    pq.write_table(table, folder / "enriched.parquet")
    tables.to_csv(folder / "enriched.parquet", folder / "enriched.csv", max_bytes=max_bytes)
    return (folder / "enriched.csv").read_bytes()


def test_what_is_uploaded_again_has_the_same_values(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    written = as_csv(tmp_path, READ_BACK)
    done = bench.convert(written)
    assert done.record_count == READ_BACK.num_rows
    assert bench.rows() == READ_BACK.to_pylist()
    assert bench.csv() == written


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        (pa.array([3.0, float("nan"), float("inf"), 1e22]), ["3.0", "nan", "inf", "1e+22"]),
        (pa.array([1.5, None], pa.float16()), ["1.5", ""]),
        (pa.array(["x", 'a"b', None, ""]).dictionary_encode(), ["x", '"a""b"', "", '""']),
        (pa.array(["a,b", "c"], pa.large_string()), ['"a,b"', "c"]),
        (pa.array([Decimal("1.50"), None]), ["1.50", ""]),
        (pa.array([time(1, 2, 3), None]), ["01:02:03.000000", ""]),
        (pa.array([b"\xff\x00", None]), ["ff00", ""]),
        (pa.array([[1, 2], None]), ['"[1, 2]"', ""]),
        (pa.array([None, None], pa.null()), ["", ""]),
    ],
)
def test_each_type_has_its_text(tmp_path: Path, column: pa.Array, cells: list[str]) -> None:
    other = pa.array(["."] * len(column))
    lines = as_csv(tmp_path, pa.table({"a": column, "b": other})).decode().splitlines()
    assert lines == ["a,b", *(f"{cell},." for cell in cells)]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_lengths_of_time_are_read_by_pandas(tmp_path: Path, unit: str) -> None:
    lengths = [timedelta(0), timedelta(days=1, hours=2, seconds=3), timedelta(seconds=-1), timedelta(days=-2), None]
    if unit in ("us", "ns"):
        lengths.append(timedelta(microseconds=-1))
    table = pa.table({"wait": pa.array(lengths, pa.duration(unit)), "b": ["."] * len(lengths)})
    as_csv(tmp_path, table)
    found = pd.to_timedelta(pd.read_csv(tmp_path / "enriched.csv")["wait"])
    assert [None if pd.isna(value) else value.to_pytimedelta() for value in found] == lengths


def test_a_table_that_outgrows_the_limit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(["x" * 1000] * 20_000)})
    with pytest.raises(ValueError, match="larger than"):
        as_csv(tmp_path, table, max_bytes=1_000_000)
    assert (tmp_path / "enriched.csv").stat().st_size <= 1_000_000
