"""The corpus of odd CSV files: each is read exactly and comes back the same, or is refused with line and reason."""

from __future__ import annotations

import csv
import io

import pytest

from shared.errors import Invalid
from tests.unit.artifacts import odd_values
from tests.unit.artifacts.conversions import Workbench
from tests.unit.artifacts.odd_tables import OddTable, corpus
from tests.unit.artifacts.odd_values import TypedTable

CORPUS = list(corpus())
READABLE = [table for table in CORPUS if table.refusal is None]
TYPED = list(odd_values.corpus())
BROKEN = [table for table in CORPUS if table.refusal is not None]


@pytest.mark.parametrize("table", READABLE, ids=lambda table: table.name)
def test_a_readable_table_is_read_exactly_and_comes_back(bench: Workbench, table: OddTable) -> None:
    done = bench.convert(table.data)
    assert [name for name, _ in done.columns] == table.names
    assert table.rows is not None
    assert [[_text(value) for value in row.values()] for row in bench.rows()] == table.rows
    again = list(csv.reader(io.StringIO(bench.csv().decode(), newline="")))
    assert again == [table.names, *table.rows]


@pytest.mark.parametrize("table", BROKEN, ids=lambda table: table.name)
def test_a_broken_table_is_refused_with_the_place(bench: Workbench, table: OddTable) -> None:
    with pytest.raises(Invalid) as refusal:
        bench.convert(table.data)
    assert table.refusal is not None
    assert refusal.value.detail.startswith(table.refusal)


@pytest.mark.parametrize("table", TYPED, ids=lambda table: table.name)
def test_a_table_of_values_is_read_with_their_types_or_refused(bench: Workbench, table: TypedTable) -> None:
    if table.refusal is not None:
        with pytest.raises(Invalid) as refusal:
            bench.convert(table.data)
        assert refusal.value.detail.startswith(table.refusal)
        return
    done = bench.convert(table.data)
    assert dict(done.columns) == table.types
    assert bench.table().to_pydict() == table.values
    if len(done.columns) == odd_values.WIDE:
        return  # seconds of processor time; narrower tables go back and forth
    types, values = done.columns, bench.table()
    again = bench.convert(bench.csv())
    assert (again.columns, bench.table().equals(values)) == (types, True)


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(CORPUS) + len(TYPED) == 200
    assert len({table.data for table in CORPUS} | {table.data for table in TYPED}) == 200


def _text(value: object) -> str:
    return "" if value is None else str(value)
