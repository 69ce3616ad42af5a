"""No value changes on the way from CSV to Parquet and back."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from services.artifacts.formats import kinds
from services.artifacts.formats.kinds import Kind
from tests.unit.artifacts.conversions import Workbench


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", None], Kind.INTEGER),
        (["9223372036854775807"], Kind.INTEGER),
        (["9223372036854775808"], Kind.STRING),
        (["007", "1"], Kind.STRING),
        (["+31", "1"], Kind.STRING),
        (["0x1F"], Kind.STRING),
        (["1_000"], Kind.STRING),
        ([" 5"], Kind.STRING),
        (["1.5", "2"], Kind.NUMBER),
        (["0.5", "-0.25", "0"], Kind.NUMBER),
        (["00.5"], Kind.STRING),
        (["1,5"], Kind.STRING),
        (["1.5", "1234567890123456"], Kind.STRING),
        (["3.14159265358979323846", "1.5"], Kind.STRING),
        (["123456789.123456789"], Kind.STRING),
        (["0.30000000000000004", "12.500000000000000000", "100000.000000000000"], Kind.NUMBER),
        (["1e5", "1.7976931348623157e308"], Kind.NUMBER),
        (["1e400", "1.5"], Kind.STRING),
        (["1e-400", "1.5"], Kind.STRING),
        (["1.5", "inf", "nan"], Kind.NUMBER),
        (["1e-320", "0.0"], Kind.NUMBER),
        (["1.23456e-320"], Kind.STRING),
        (["NA", "1"], Kind.STRING),
        (["nan"], Kind.STRING),
        (["true", "FALSE", ""], Kind.BOOLEAN),
        (["true", "no"], Kind.STRING),
        (["2011-10-11"], Kind.DATE),
        (["2011-10-11", "2011-10-11 10:00"], Kind.STRING),
        (["2011-10-11 10:00:00", "2011-10-11T10:00:00.123456"], Kind.TIMESTAMP),
        (["2011-10-11 10:00:00.1234567"], Kind.TIMESTAMP_NS),
        (["2011-10-11 10:00:00Z", "2011-10-11 10:00:00.5+00:00"], Kind.INSTANT),
        (["2011-10-11 10:00:00+02:00", "2011-12-11 10:00:00+01:00"], Kind.TIME_TEXT),
        (["2011-10-11 10:00:00+02:00", "soon"], Kind.STRING),
        (["12:30"], Kind.STRING),
        (["", None], Kind.EMPTY),
    ],
)
def test_a_column_gets_the_narrowest_kind_that_keeps_every_value(values: list[str | None], kind: Kind) -> None:
    assert kinds.infer(pa.array(values, pa.string())) is kind


@pytest.mark.parametrize("one", list(Kind))
@pytest.mark.parametrize("other", list(Kind))
def test_joining_kinds_is_symmetric_and_settles(one: Kind, other: Kind) -> None:
    joined = kinds.join(one, other)
    assert joined is kinds.join(other, one)
    assert kinds.join(joined, one) is kinds.join(joined, other) is joined


@pytest.mark.parametrize(
    "text",
    [
        'a,b\n1,x\n2,"say ""hi"", then go"\n3,"two\nlines"\n',
        'a,b\n1,\n2,""\n,x\n',
        "a,b\n007,1\n08,2\n",
        "a,b\n35.0,1\n,2\n0.1,3\n",
        "a,b\n2011-10-11 13:45:40.276000+02:00,1\n2011-12-06 13:41:31.788000+01:00,2\n",
        "a,b\n2011-10-11 13:45:40.276,1\n2011-10-11 13:45:40,2\n2011-10-11 13:45:40.123456,3\n",
        "a,b\n2011-10-11 13:45:40Z,1\n",
        "a,b\n2011-10-11T13:45:40.500Z,1\n2011-10-11T13:45:40.000Z,2\n",
        "a,b\n2011-10-11 13:45:40.500000,1\n2011-10-11 13:45:40,2\n",
        "a,b\n2011-10-11 13:45:40.5,1\n2011-10-11 13:45:40.25,2\n2011-10-11 13:45:40,3\n",
        "a,b\n2011-10-11 13:45:40.500+00:00,1\n,2\n",
        "a,b\n2011-10-11T13:45,1\n2011-10-11T00:00,2\n",
        "a,b\n2011-10-11 13:45:40.123456700,1\n",
        "a,b\n1969-12-31 23:59:59.500,1\n1600-01-01 00:00:00.000,2\n",
        "a,b\n=1+1,@x\n-,+5\n",
        "a\n1\n2\n",
        'a\nx\n""\n',
        "a,b\ntrue,1\nfalse,2\n",
        "a,b\nNA,null\nNaN,None\n",
        "a,b\n9007199254740993,1\n",
    ],
)
def test_writing_back_what_was_read_gives_the_same_text(bench: Workbench, text: str) -> None:
    bench.convert(text.encode())
    assert bench.csv().decode() == text


def test_a_misjudged_column_is_read_again_as_what_it_is(bench: Workbench) -> None:
    rows = [f"{number},{number}.5,2020-01-01T00:00:00,\n" for number in range(150_000)]
    rows += ["x7,1e3,someday,late\n"]
    text = "id,amount,when,note\n" + "".join(rows)
    done = bench.convert(text.encode())
    assert dict(done.columns) == {"id": "string", "amount": "number", "when": "string", "note": "string"}
    assert done.record_count == 150_001
    last = bench.rows()[-1]
    assert last == {"id": "x7", "amount": 1000.0, "when": "someday", "note": "late"}
    assert bench.rows()[0]["id"] == "0"


def test_integers_become_numbers_only_where_that_is_exact(bench: Workbench) -> None:
    small, large = "1\n" * 400_000, "9007199254740993\n" * 200_000
    assert bench.convert(("a\n" + small + "1.5\n").encode()).columns == [("a", "number")]
    assert bench.convert(("a\n" + large + "1.5\n").encode()).columns == [("a", "string")]
    assert bench.rows()[0]["a"] == "9007199254740993"


@pytest.mark.parametrize("memory", [1000, 100_000_000])
def test_distinct_cases_are_counted_exactly_whether_they_fit_in_memory_or_not(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr("services.artifacts.formats.distinct.MEMORY_BYTES", memory)
    monkeypatch.setattr("services.artifacts.formats.distinct.FRESH_VALUES", 100)
    chance = random.Random(7)
    cases = [f"case-{chance.randrange(20_000)}" for _ in range(60_000)]
    text = "case_id,activity\n" + "".join(f"{case},a\n" for case in cases)
    assert bench.convert(text.encode()).case_count == len(set(cases))


def test_times_written_in_several_ways_come_back_in_one_with_the_same_values(bench: Workbench) -> None:
    text = "a,b\n2011-10-11 13:45:40.5,1\n2011-10-11T13:45:40.500,2\n2011-10-11 13:45:40.120,3\n"
    bench.convert(text.encode())
    before = bench.rows()
    assert bench.csv().decode() == (
        "a,b\n2011-10-11 13:45:40.500,1\n2011-10-11 13:45:40.500,2\n2011-10-11 13:45:40.120,3\n"
    )
    bench.convert(bench.csv())
    assert bench.rows() == before


def test_another_way_of_writing_times_behind_the_first_rows_changes_no_value(bench: Workbench) -> None:
    rows = "2011-10-11 13:45:40.500,1\n" * 200_000 + "2011-10-11 13:45:40.123456,2\n"
    bench.convert(("a,b\n" + rows).encode())
    assert bench.csv().decode() == "a,b\n" + rows
