"""An enriched dataset held against the one that the run read."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.executor.collecting import enrichment
from services.executor.collecting.enrichment_check import Check

ROWS = 150_000  # more than two batches
BOUND: dict[str, Any] = {
    "case": [f"c{n // 3}" for n in range(ROWS)],
    "n": list(range(ROWS)),
    "gap": [None if n % 2 else n for n in range(ROWS)],
    "t": [datetime.fromtimestamp(n, UTC) for n in range(ROWS)],
}


def check(tmp_path: Path, enriched: dict[str, Any], *, row_group_size: int = 40_000) -> Check:
    pq.write_table(pa.table(BOUND), tmp_path / "bound.parquet")
    pq.write_table(pa.table(enriched), tmp_path / "new.parquet", row_group_size=row_group_size)
    return enrichment.check(tmp_path / "new.parquet", tmp_path / "bound.parquet", ("case", None, "t"))


def test_new_columns_alone_change_nothing(tmp_path: Path) -> None:
    found = check(tmp_path, {**BOUND, "score": [0.5] * ROWS})
    assert (found.new_columns, found.lost_columns, found.changed_columns) == (["score"], [], [])
    assert (found.records_before, found.rows_lost, found.rows_added, found.rows_aligned) == (ROWS, 0, 0, True)
    assert found.warnings("x") == []


def test_what_pandas_makes_of_types_is_no_change(tmp_path: Path) -> None:
    pandas_like = {
        "case": pa.array(BOUND["case"]).dictionary_encode(),
        "n": pa.array(BOUND["n"], pa.int64()),
        "gap": pa.array([math.nan if n is None else float(n) for n in BOUND["gap"]]),
        "t": pa.array(BOUND["t"], pa.timestamp("ns", "UTC")),
        "score": [1] * ROWS,
    }
    found = check(tmp_path, pandas_like)
    assert found.changed_columns == []
    assert found.rows_aligned


def test_changed_lost_and_retyped_columns_are_named(tmp_path: Path) -> None:
    changed = {**BOUND, "n": [*BOUND["n"][:-1], -1], "t": [str(t) for t in BOUND["t"]], "new": [0] * ROWS}
    del changed["gap"]
    found = check(tmp_path, changed)
    assert found.lost_columns == ["gap"]
    assert found.changed_columns == [
        {"name": "n", "change": "values", "valuesChanged": 1},
        {"name": "t", "change": "time became text"},
    ]
    assert found.warnings("x") == [
        "The enriched dataset 'x' lost the column gap of the dataset.",
        "The enriched dataset 'x' changed the columns n, t of the dataset.",
        "The enriched dataset 'x' changed 1 value in 1 row.",
    ]


def test_changed_rows_and_values_are_counted(tmp_path: Path) -> None:
    changed = {
        **BOUND,
        "n": [-n if n % 1000 == 1 else n for n in BOUND["n"]],
        "gap": [None if n == 2 else 7 if n == 1 else n for n in BOUND["gap"]],
        "new": [0] * ROWS,
    }
    found = check(tmp_path, changed)
    assert found.changed_columns == [
        {"name": "n", "change": "values", "valuesChanged": 150},
        {"name": "gap", "change": "values", "valuesChanged": 1},
    ]
    assert (found.rows_changed, found.values_changed) == (151, 151)
    assert found.details()["rowsChanged"] == 151


@pytest.mark.parametrize("turned", [False, True])
def test_a_key_of_another_type_is_compared_as_what_it_says(tmp_path: Path, turned: bool) -> None:
    order = slice(None, None, -1 if turned else None)
    retyped = {**BOUND, "t": [str(t) for t in BOUND["t"]][order], "new": [0] * ROWS}
    found = check(tmp_path, retyped)
    assert found.rows_aligned is not turned
    assert found.changed_columns == [{"name": "t", "change": "time became text"}]


def test_without_a_key_rows_are_aligned_only_when_nothing_differs(tmp_path: Path) -> None:
    for table, aligned in (({"n": [1, 2], "m": [1, 2]}, True), ({"n": [1, 2], "m": [1, 3]}, False)):
        pq.write_table(pa.table({"n": [1, 2], "m": [1, 2]}), tmp_path / "bound.parquet")
        pq.write_table(pa.table({**table, "new": [0, 0]}), tmp_path / "new.parquet")
        found = enrichment.check(tmp_path / "new.parquet", tmp_path / "bound.parquet", (None, None, None))
        assert found.rows_aligned is aligned
    assert found.details()["valuesChanged"] is None


def test_a_table_with_no_column_of_the_dataset_is_not_aligned(tmp_path: Path) -> None:
    assert not check(tmp_path, {"new": [0] * ROWS}).rows_aligned


@pytest.mark.parametrize(("rows", "lost", "added"), [(ROWS - 20, 20, 0), (ROWS + 5, 0, 5)])
def test_rows_lost_and_added_are_counted(tmp_path: Path, rows: int, lost: int, added: int) -> None:
    enriched = {name: (values + values[:5])[:rows] for name, values in BOUND.items()}
    found = check(tmp_path, {**enriched, "new": [1] * rows})
    assert (found.rows_lost, found.rows_added, found.rows_aligned) == (lost, added, False)
    assert found.changed_columns == []
    assert len(found.warnings("x")) == 1


def test_another_order_is_told_as_such(tmp_path: Path) -> None:
    found = check(tmp_path, {**{name: values[::-1] for name, values in BOUND.items()}, "new": [1] * ROWS})
    assert found.changed_columns == []
    assert found.warnings("x") == [
        "The enriched dataset 'x' has other rows than the dataset, or its rows in another order."
    ]


def test_nothing_new_is_worth_a_word(tmp_path: Path) -> None:
    assert check(tmp_path, BOUND).warnings("x") == ["The enriched dataset 'x' has no new column."]
