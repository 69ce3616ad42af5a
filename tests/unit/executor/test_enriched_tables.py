"""An enriched dataset has the same values in CSV and in Parquet, in the words that downloads of datasets use."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.executor.collecting import table_program, tables
from services.executor.collecting.tables import Wanted
from tests.support import hostile_tables as hostile
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
    question = {"steps": ["csv"], "csv": str(folder / "enriched.csv"), "maxBytes": max_bytes}
    for said in table_program.answer({**question, "parquet": str(folder / "enriched.parquet")}):
        assert "failed" not in said, said["failed"]
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
    with pytest.raises(AssertionError, match="larger than"):
        as_csv(tmp_path, table, max_bytes=1_000_000)
    assert (tmp_path / "enriched.csv").stat().st_size <= 1_000_000


async def test_a_table_is_looked_at_compared_and_written_in_one_go(tmp_path: Path) -> None:
    pq.write_table(READ_BACK.drop_columns(["day"]), tmp_path / "bound.parquet")
    pq.write_table(READ_BACK, tmp_path / "enriched.parquet")
    wanted = Wanted(
        csv=tmp_path / "t.csv", max_bytes=10_000, bound=tmp_path / "bound.parquet", keys=("case", None, "x")
    )
    found = await tables.look(tmp_path / "enriched.parquet", wanted, scratch=tmp_path)
    assert (found.rows, found.columns, found.failed) == (3, READ_BACK.column_names, {})
    assert found.check is not None
    assert (found.check.new_columns, found.check.rows_aligned) == (["day"], True)
    assert (tmp_path / "t.csv").read_text().startswith("case,empty,whole")


async def test_values_without_end_stop_their_own_process_alone(tmp_path: Path) -> None:
    bomb = hostile.bomb(tmp_path / "bomb.parquet")
    assert bomb.stat().st_size < 5_000
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "bound.parquet")
    wanted = Wanted(csv=tmp_path / "t.csv", max_bytes=10**6, bound=tmp_path / "bound.parquet", keys=("a", None, None))
    found = await tables.look(bomb, wanted, scratch=tmp_path)
    assert found.rows == hostile.ROWS
    assert found.check is not None
    assert found.check.rows_added == hostile.ROWS - 1
    assert found.failed == {"csv": "its values need more than 768 MB of memory at once"}


async def test_what_is_no_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1")
    found = await tables.look(tmp_path / "x.parquet", Wanted(), scratch=tmp_path)
    assert list(found.failed) == ["shape"]


async def test_the_file_may_be_one_that_is_open(tmp_path: Path) -> None:
    pq.write_table(READ_BACK, tmp_path / "t.parquet")
    with (tmp_path / "t.parquet").open("rb") as file:
        path = Path(f"/proc/self/fd/{file.fileno()}")
        found = await tables.look(path, Wanted(), scratch=tmp_path, descriptors=(file.fileno(),))
    assert found.rows == 3
