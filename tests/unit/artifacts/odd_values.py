"""Sixty odd CSV files with typed values: each with its columns' types and values, or with what its refusal must say."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from services.artifacts.formats.csv_dialect import MAX_RECORD_BYTES

WIDE = 5_000
"""Columns of the widest table."""


@dataclass(frozen=True, kw_only=True)
class TypedTable:
    """A file, and its types and columns of values, or how its refusal begins."""

    name: str
    data: bytes
    types: dict[str, str] | None = None
    values: dict[str, list[Any]] | None = None
    refusal: str | None = None


def corpus() -> Iterator[TypedTable]:
    """All of them."""
    for number, (texts, kind, values) in enumerate(COLUMNS):
        data = "n;x\n" + "".join(f"{row};{text}\n" for row, text in enumerate(texts))
        encoding = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be")[number % 4]
        types = {"n": "integer", "x": kind}
        found = {"n": list(range(len(texts))), "x": texts if values is None else values}
        yield TypedTable(name=f"{number}-{kind}-{encoding}", data=data.encode(encoding), types=types, values=found)
    yield from _wide()
    yield from _long()
    for name, refused, refusal in REFUSED:
        yield TypedTable(name=name, data=refused, refusal=refusal)
    for name, header in HEADERS_ALONE.items():
        yield TypedTable(name=name, data=header, types={"a": "string", "b": "string"}, values={"a": [], "b": []})
    yield TypedTable(
        name="lines in quotes",
        data=b'a,b\r\n1,"x\r\ny"\r\n2,"\n"\r\n3,"""q"",\n"\r\n',
        types={"a": "integer", "b": "string"},
        values={"a": [1, 2, 3], "b": ["x\r\ny", "\n", '"q",\n']},
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


COLUMNS: list[tuple[list[str], str, list[Any] | None]] = [
    # decimal commas
    (["1,5", "-0,25", "2"], "number", [1.5, -0.25, 2.0]),
    (["0,1", "", "1000000,5"], "number", [0.1, None, 1000000.5]),
    (["1.234,5", "2,5"], "string", None),
    (["1,5", "1.5"], "string", None),
    (["3,14159265358979323846"], "string", None),
    # mixed types
    (["1", "2.5", "-3"], "number", [1.0, 2.5, -3.0]),
    (["1", "two"], "string", None),
    (["true", "False", ""], "boolean", [True, False, None]),
    (["true", "1"], "string", None),
    (["2020-01-01", "7"], "string", None),
    (["2020-01-01", "2020-01-01T10:00:00"], "string", None),
    (["9007199254740993", "1.5"], "string", None),
    # numbers near and beyond the ends
    (["9223372036854775807", "-9223372036854775808"], "integer", [2**63 - 1, -(2**63)]),
    (["9223372036854775808"], "string", None),
    (["1e400"], "string", None),
    (["1e-400", "1.5"], "string", None),
    (["0.1", "0.30000000000000004"], "number", [0.1, 0.30000000000000004]),
    (["1e300", "5e-324"], "number", [1e300, 5e-324]),
    (["007", "12"], "string", None),
    # formulas
    (["=cmd|' /C calc'!A0", "=1+1"], "string", None),
    (["@SUM(A1)", "+31 6", "-"], "string", None),
    (["-1", "+1"], "string", None),
    # dates in other orders, and times
    (["13/02/2020", "01/03/2020"], "date", [date(2020, 2, 13), date(2020, 3, 1)]),
    (["01/02/2020", "02/13/2020"], "date", [date(2020, 1, 2), date(2020, 2, 13)]),
    (["01/02/2020", "03/04/2020"], "string", None),
    (["13.02.2020 10:00"], "timestamp", [_moment("2020-02-13 10:00")]),
    (["2020-02-29", ""], "date", [date(2020, 2, 29), None]),
    (["2021-02-29"], "string", None),
    (["2020-01-01 10:00:00.5Z"], "timestamp", [_utc("2020-01-01 10:00:00.500")]),
    (["2020-01-01 10:00:00+02:00", "2020-01-01 10:00:00+01:00"], "timestamp", None),
]
"""The texts of a column, its type, and its values; None where these are the texts."""

HEADERS_ALONE = {
    "header": b"a,b\n",
    "header without an end": b"a,b",
    "header with a mark": b"\xef\xbb\xbfa,b\r\n",
    "header in utf-16": "a;b\n".encode("utf-16"),
    "header and blank lines": b"a,b\n\n\r\n\n",
}

REFUSED = [
    ("empty", b"", "The file is empty"),
    ("nothing packed", gzip.compress(b"", mtime=0), "The file is empty"),
    ("white space", b" \n\t\n", "The file holds nothing but white space"),
    ("two of a name", b"a,b,a\n1,2,3\n", "Line 1, column 'a': the header names it 2 times"),
    ("three of a quoted name", b'"a b",c,"a b","a b"\n1,2,3,4\n', "Line 1, column 'a b': the header names it 3 times"),
    ("NUL in the header", b"a,\0b\n1,2\n", "Line 1, character 3: there is a NUL byte"),
    ("early NUL", b"a,b\n1,\0\n", "Line 2, column 'b': there is a NUL byte"),
    ("NUL in quotes", b'a,b\n1,"x\ny\0"\n', "Line 3, column 'b': there is a NUL byte"),
    ("late NUL", b"a,b\n" + b"1,2\n" * 300_000 + b"\0", "Line 300002, column 'a': there is a NUL byte"),
    ("NUL in utf-16", "a,b\n1,x\0\n".encode("utf-16"), "Line 2, column 'b': there is a NUL byte"),
    ("early escape", b"a,b\n1,\x1b[1m\n", "Line 2, column 'b': there is the control character 0x1b"),
    ("late bell", b"a,b\n" + b"1,2\n" * 300_000 + b"3,\x07\n", "Line 300002, column 'b': there is the control"),
    ("short row", b"a,b,c\n1,2,3\n4,5\n", "Line 3, column 'c': there are 2 values, but the header names 3 columns"),
    ("long row", b"a,b\n1,2,3\n", "Line 2: there are 3 values, but the header names 2 columns"),
    ("short row at the end", b"a,b\n1,2\n3", "Line 3, column 'b': there is 1 value, but the header names 2 columns"),
    ("long row behind lines in quotes", b'a,b\n"x\n\n",2\n3,4,5\n', "Line 5: there are 3 values"),
    ("open quote", b'a,b\n1,"2\n3,4\n', "Line 2, column 'b': a quoted value that begins here is not closed"),
    ("bytes of another encoding", b"\xef\xbb\xbfa,b\n1,\xe9\n", "Line 2, column 'b': the text is not valid UTF-8"),
    ("half a character", "a,b\n1,x\n".encode("utf-16")[:-1], "Line 2, column 'b': the text ends in the middle"),
]


def _wide() -> Iterator[TypedTable]:
    kinds = ("integer", "number", "string", "date", "boolean")
    for name, width, rows in (("wide", 500, 3), ("wide with gaps", WIDE, 2)):
        names = [f"c{number}" for number in range(width)]
        columns = [[_value(number, row, gap=width == WIDE) for row in range(rows)] for number in range(width)]
        lines = [",".join(names), *(",".join(_text(column[row]) for column in columns) for row in range(rows))]
        yield TypedTable(
            name=name,
            data="\n".join(lines).encode(),
            types={each: kinds[number % 5] for number, each in enumerate(names)},
            values=dict(zip(names, columns, strict=True)),
        )


def _value(number: int, row: int, *, gap: bool) -> Any:
    if gap and row == 1:
        return None
    whole = number * 31 + row
    return (whole, whole + 0.5, f"w{whole}", date.fromordinal(730_000 + whole), whole % 2 == 0)[number % 5]


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _long() -> Iterator[TypedTable]:
    start = b"a,b\n1,x\n2,"
    fits = MAX_RECORD_BYTES - len(b"2,\n")
    yield TypedTable(
        name="the longest line",
        data=start + b"y" * fits + b"\n",
        types={"a": "integer", "b": "string"},
        values={"a": [1, 2], "b": ["x", "y" * fits]},
    )
    for name, row, reason in (
        ("a line over the limit", b"y" * (3 * MAX_RECORD_BYTES), "the line is longer than"),
        ("lines in quotes over the limit", b'"' + b"y\n" * (2 * MAX_RECORD_BYTES) + b'"', "a quoted value that begins"),
    ):
        yield TypedTable(name=name, data=start + row + b"\n", refusal=f"Line 3, column 'b': {reason}")
