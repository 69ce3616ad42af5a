"""Stored tables are read in batches of bounded bytes, whatever their shape."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.artifacts import previews
from shared.tabular import regrouping, stored
from shared.tabular.csv_out import csv_chunks

WIDE = pa.table({f"c{number}": pa.array([number + row * 0.5 for row in range(700)]) for number in range(400)})
LONG = pa.table({"a": pa.array(["x" * 100_000 + str(row % 3) for row in range(900)]), "b": list(range(900))})
CATEGORIES = LONG.set_column(0, "a", LONG.column("a").dictionary_encode())
NESTED = pa.table({"a.b": [1, 2], "a": [[1, 2], None], "r": [{"x": 1, "y": "z"}, None]})


@pytest.mark.parametrize("table", [WIDE, LONG, CATEGORIES, NESTED, LONG.slice(0, 0)])
@pytest.mark.parametrize("held", [regrouping.HELD_BYTES, 40_000])
def test_every_row_comes_once_and_in_order(
    tmp_path: Path, table: pa.Table, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regrouping, "HELD_BYTES", held)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=500)
    found = list(stored.batches(tmp_path / "t.parquet"))
    assert pa.Table.from_batches(found, schema=table.schema).equals(table)


@pytest.mark.parametrize("table", [LONG, CATEGORIES])
def test_a_batch_of_long_texts_has_few_rows(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    assert max(batch.num_rows for batch in stored.batches(tmp_path / "t.parquet")) <= stored.BATCH_BYTES // 100_000
    assert max(len(values) for values in stored.column(tmp_path / "t.parquet", "a")) <= stored.BATCH_BYTES // 100_000
    assert max(map(len, csv_chunks(tmp_path / "t.parquet"))) < 2 * stored.BATCH_BYTES


def test_a_batch_of_many_columns_has_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BATCH_BYTES", 100 * 400 * 8)
    pq.write_table(WIDE, tmp_path / "t.parquet")
    assert [batch.num_rows for batch in stored.batches(tmp_path / "t.parquet")] == [100] * 7


def test_texts_that_get_longer_than_the_first_ones_are_cut_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BATCH_BYTES", 100_000)
    table = pa.table({"a": ["x"] * 1_000 + ["y" * 10_000] * 1_000})
    pq.write_table(table, tmp_path / "t.parquet")
    found = list(stored.batches(tmp_path / "t.parquet"))
    assert max(batch.nbytes for batch in found) <= 200_000
    assert pa.Table.from_batches(found).equals(table)


def test_a_preview_reads_one_row_group_at_a_time(tmp_path: Path) -> None:
    pq.write_table(LONG, tmp_path / "t.parquet", row_group_size=10)
    with pq.ParquetFile(tmp_path / "t.parquet") as file:
        batches = [len(rows) for rows in previews.groups_of_rows(file, 1_000)]
    assert max(batches) == 10
    assert sum(batches) == 900
