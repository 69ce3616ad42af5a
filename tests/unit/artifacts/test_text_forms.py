"""Decimal commas and other orders of a date are read where they are certain, or said; and all else stays text."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

from services.artifacts.formats import text_forms
from services.artifacts.formats.conversion import Writing
from shared.errors import Invalid
from tests.unit.artifacts.conversions import Workbench

moment = datetime.fromisoformat


def column(bench: Workbench, *values: str, delimiter: str = ";", **writing: str) -> tuple[str, list[Any]]:
    """The type and the values that a column of such texts is stored with."""
    text = f"n{delimiter}x\n" + "".join(f"{n}{delimiter}{value}\n" for n, value in enumerate(values))
    done = bench.convert(text.encode(), writing=Writing(**writing))
    return dict(done.columns)["x"], [row["x"] for row in bench.rows()]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,5", "2", "-0,25", ""], ("number", [1.5, 2.0, -0.25, None])),
        (["1,234", "2,5"], ("number", [1.234, 2.5])),
        (["1.234,5"], ("string", ["1.234,5"])),
        (["1,5", "n/a"], ("string", ["1,5", "n/a"])),
        (["13/02/2020", "01/03/2020"], ("date", [date(2020, 2, 13), date(2020, 3, 1)])),
        (["02/13/2020", "03/01/2020"], ("date", [date(2020, 2, 13), date(2020, 3, 1)])),
        (["01/02/2020", "03/04/2020"], ("string", ["01/02/2020", "03/04/2020"])),
        (["31/02/2020"], ("string", ["31/02/2020"])),
        (["13-02-2020 9:05", ""], ("timestamp", [moment("2020-02-13 09:05"), None])),
        (["13.02.2020 09:05:06.25"], ("timestamp", [moment("2020-02-13 09:05:06.250")])),
        (["2020/02/13 09:05:06"], ("timestamp", [moment("2020-02-13 09:05:06")])),
        (["13 Feb 2020", "01 Mar 2020"], ("date", [date(2020, 2, 13), date(2020, 3, 1)])),
        (["02/13/2020 1:05 PM"], ("timestamp", [moment("2020-02-13 13:05")])),
        (["30 Feb 2020"], ("string", ["30 Feb 2020"])),
    ],
)
def test_what_is_certain_is_read_and_the_rest_stays_text(
    bench: Workbench, values: list[str], expected: tuple[str, list[Any]]
) -> None:
    assert column(bench, *values) == expected


def test_between_commas_a_decimal_comma_must_be_said(bench: Workbench) -> None:
    assert column(bench, '"1,234"', delimiter=",") == ("string", ["1,234"])
    assert column(bench, '"1,234"', delimiter=",", decimal=",") == ("number", [1.234])
    assert column(bench, "1,5", decimal=".") == ("string", ["1,5"])


def test_a_file_has_one_decimal_character(bench: Workbench) -> None:
    done = bench.convert(b"a;b\n1,5;1.234\n2,5;2.345\n")
    assert done.columns == [("a", "number"), ("b", "string")]
    assert done.source["decimal"] == ","


def test_the_answer_says_how_the_file_was_read(bench: Workbench) -> None:
    done = bench.convert("a;wann;t\n1,5;13.02.2020;2020-01-01T00:00:00Z\n".encode("utf-16"))
    assert done.source["encoding"] == "utf-16-le"
    assert (done.source["delimiter"], done.source["decimal"]) == (";", ",")
    assert done.source["timeFormats"] == {"wann": "%d.%m.%Y", "t": "ISO 8601"}


def test_a_format_that_is_said_settles_what_could_be_read_in_two_ways(bench: Workbench) -> None:
    assert column(bench, "01/02/2020", time_format="%m/%d/%Y")[1] == [date(2020, 1, 2)]
    assert column(bench, "01/02/2020", time_format="%d/%m/%Y")[1] == [date(2020, 2, 1)]
    assert column(bench, "20200213", time_format="%Y%m%d")[1] == [date(2020, 2, 13)]
    assert column(bench, "13-02-20", time_format="%d-%m-%y")[1] == [date(2020, 2, 13)]
    moments = column(bench, "13.02.2020 10:00 Z", time_format="%d.%m.%Y %H:%M %z")
    assert moments[0] == "timestamp"


def test_a_format_that_does_not_fit_is_refused_with_the_place(bench: Workbench) -> None:
    data = b'case_id,when\n1,13-02-2020\n2,"\n"\n3,soon\n'
    with pytest.raises(Invalid, match=r"Line 3, column 'when': .* is not a time written as '%d-%m-%Y'"):
        bench.convert(data, writing=Writing(time_format="%d-%m-%Y"), time="when")
    with pytest.raises(Invalid) as refusal:
        bench.convert(data, writing=Writing(time_format="%d-%m-%Y"))
    assert refusal.value.faults[0].path == "timeFormat"


def test_a_comma_far_from_the_start_widens_whole_numbers(bench: Workbench) -> None:
    text = "n;x\n" + "".join(f"{number};{number}\n" for number in range(300_000)) + "300000;2,5\n"
    done = bench.convert(text.encode())
    assert dict(done.columns) == {"n": "integer", "x": "number"}
    assert bench.rows()[-1]["x"] == 2.5
    assert done.source["decimal"] == ","


@pytest.mark.parametrize(("delimiter", "expected"), [("^", ["a", "b;c"]), (";", ["a^b", "c"])])
def test_a_delimiter_that_is_said_holds(bench: Workbench, delimiter: str, expected: list[str]) -> None:
    done = bench.convert(b"a^b;c\n1^2;3\n", writing=Writing(delimiter=delimiter))
    assert [name for name, _ in done.columns] == expected


def test_an_encoding_that_is_said_holds(bench: Workbench) -> None:
    bench.convert("a,b\n1,\u0416\n".encode("cp1251"), writing=Writing(encoding="windows-1251"))
    assert bench.rows()[0]["b"] == "\u0416"
    with pytest.raises(Invalid, match="not valid"):
        bench.convert(b"a,b\n1,\xff\n", writing=Writing(encoding="utf-8"))
    bench.convert("a,b\n1,\u20ac\n".encode("utf-32"), piece=3)
    assert bench.rows()[0]["b"] == "\u20ac"


LOG = "n;x\n" + "".join(f"{number};0{number % 9 + 1}/02/2020\n" for number in range(200_000))  # several blocks


@pytest.mark.parametrize(
    ("end", "kind", "first"),
    [
        ("1;13/02/2020\n", "date", date(2020, 2, 1)),
        ("1;02/13/2020\n", "date", date(2020, 1, 2)),
        ("1;13/02/2020\n1;02/13/2020\n", "string", "01/02/2020"),
        ("1;soon\n1;13/02/2020\n", "string", "01/02/2020"),
        ("1;\n", "string", "01/02/2020"),
    ],
)
def test_a_row_far_from_the_start_settles_the_order_of_dates(bench: Workbench, end: str, kind: str, first: Any) -> None:
    done = bench.convert((LOG + end).encode())
    assert dict(done.columns)["x"] == kind
    assert bench.rows()[0]["x"] == first


def test_dates_may_begin_late_and_be_settled_later(bench: Workbench) -> None:
    text = "n;x\n" + "".join(f"{number};\n" for number in range(300_000)) + LOG.partition("\n")[2]
    done = bench.convert((text + "1;02/13/2020\n").encode())
    assert dict(done.columns)["x"] == "date"
    assert bench.table().column("x").null_count == 300_000


@pytest.mark.parametrize("time_format", text_forms.FOUND)
def test_a_format_is_tried_on_every_text_that_is_in_it(time_format: str) -> None:
    moments = [moment("2020-01-02T03:04:05.600000"), moment("1999-12-31T23:59:59.999999")]
    for each in moments:
        text = each.strftime(time_format)
        for written in (text, text.replace("0", "", 1) if text.startswith("0") else text):
            assert time_format in text_forms._thinkable(pa.array([written])), written


def test_no_format_is_tried_on_what_can_be_no_time() -> None:
    for text in ("12345", "1.5", "12 apples", "1-2-3-4", "9" * 1_000, ""):
        assert text_forms._thinkable(pa.array([text])) == []
