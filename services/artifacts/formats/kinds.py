"""What a column of texts really holds, decided so that no value changes when it is stored and written out again.

A text is stored as a number, a boolean or a point in time only when writing that back gives the same value: `007`,
`+31` and integers of more than 15 digits next to decimals stay texts; decimals are doubles. Times with an offset other
than UTC stay texts too (Parquet would keep the instant and lose the offset), but are known to be timestamps.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

EXACT_DIGITS = 15
"""Decimal digits that a double always keeps (IEEE 754: DBL_DIG)."""

SAMPLE_VALUES = 64
"""Values that a kind is tried on first: pyarrow describes every single failure, so a wrong guess costs seconds."""

SMALLEST_EXACT = 1e-290
"""Below this a double may keep fewer digits: near the end of its range it has fewer bits (subnormal numbers)."""

DATE_LENGTH = len("2011-10-11")


class Kind(StrEnum):
    """How a column is stored."""

    EMPTY = "empty"  # nothing but missing values so far
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"  # without a zone, to the microsecond
    TIMESTAMP_NS = "timestamp_ns"
    INSTANT = "instant"  # in UTC, to the microsecond
    INSTANT_NS = "instant_ns"
    TIME_TEXT = "time_text"  # a point in time with its own offset, kept as text
    STRING = "string"

    @property
    def arrow(self) -> pa.DataType:
        """The type in the Parquet file."""
        return _ARROW.get(self, pa.string())

    @property
    def logical(self) -> str:
        """The type as the API says it."""
        return _LOGICAL[self]


_ARROW = {
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMP_NS: pa.timestamp("ns"),
    Kind.INSTANT: pa.timestamp("us", "UTC"),
    Kind.INSTANT_NS: pa.timestamp("ns", "UTC"),
}

_LOGICAL = {
    Kind.EMPTY: "string",
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "boolean",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamp",
    Kind.TIMESTAMP_NS: "timestamp",
    Kind.INSTANT: "timestamp",
    Kind.INSTANT_NS: "timestamp",
    Kind.TIME_TEXT: "timestamp",
    Kind.STRING: "string",
}

_WIDER = {
    frozenset({Kind.INTEGER, Kind.NUMBER}): Kind.NUMBER,
    frozenset({Kind.TIMESTAMP, Kind.TIMESTAMP_NS}): Kind.TIMESTAMP_NS,
    frozenset({Kind.INSTANT, Kind.INSTANT_NS}): Kind.INSTANT_NS,
    frozenset({Kind.INSTANT, Kind.TIME_TEXT}): Kind.TIME_TEXT,
    frozenset({Kind.INSTANT_NS, Kind.TIME_TEXT}): Kind.TIME_TEXT,
}

_ORDER = [kind for kind in Kind if kind not in (Kind.EMPTY, Kind.STRING)]
"""The order in which kinds are tried on a column."""


def join(one: Kind, other: Kind) -> Kind:
    """The narrowest kind that both fit."""
    if one == other or other is Kind.EMPTY:
        return one
    if one is Kind.EMPTY:
        return other
    return _WIDER.get(frozenset({one, other}), Kind.STRING)


def infer(column: pa.Array) -> Kind:
    """The narrowest kind that fits every value."""
    if _is_blank(column):
        return Kind.EMPTY
    sample = column.filter(pc.greater(pc.binary_length(column), 0)).slice(0, SAMPLE_VALUES)
    likely = [kind for kind in _ORDER if read(sample, kind) is not None]
    return next((kind for kind in likely if read(column, kind) is not None), Kind.STRING)


def read(column: pa.Array, kind: Kind) -> pa.Array | None:
    """The column of texts as `kind` stores it, or None when a value does not fit."""
    if kind is Kind.STRING:
        return column
    if kind is Kind.EMPTY:
        return column if _is_blank(column) else None
    present = _blank_as_null(column)
    if present.null_count == len(present):
        return pa.nulls(len(present), kind.arrow)
    try:
        return _READERS[kind](present, kind)
    except pa.ArrowInvalid:
        return None


def is_time(column: pa.Array) -> bool:
    """Whether every value is a date or a point in time."""
    return infer(column) in (
        Kind.DATE,
        Kind.TIMESTAMP,
        Kind.TIMESTAMP_NS,
        Kind.INSTANT,
        Kind.INSTANT_NS,
        Kind.TIME_TEXT,
    )


def _is_blank(column: pa.Array) -> bool:
    return column.null_count == len(column) or bool(pc.max(pc.binary_length(column)).as_py() == 0)


def _blank_as_null(column: pa.Array) -> pa.Array:
    """A quoted empty value is a missing one wherever the type is not text."""
    lengths = pc.binary_length(column)
    if pc.min(lengths).as_py() != 0:
        return column
    return pc.if_else(pc.equal(lengths, 0), pa.scalar(None, pa.string()), column)


def _any(mask: pa.Array) -> bool:
    return bool(pc.any(mask).as_py())


def _read_integer(column: pa.Array, kind: Kind) -> pa.Array | None:
    longer = pc.greater(pc.binary_length(column), 1)
    zero_first = pc.and_(pc.starts_with(column, "0"), longer)
    if _any(zero_first) or _any(pc.starts_with(column, "-0")) or _any(pc.starts_with(column, "+")):
        return None
    return pc.cast(column, kind.arrow)


def _read_number(column: pa.Array, kind: Kind) -> pa.Array | None:
    lengths = pc.binary_length(column)
    for sign in ("", "-"):
        zero = pc.starts_with(column, f"{sign}0")
        if not _any(zero):
            continue
        zero = pc.and_(zero, pc.greater(lengths, 1 + len(sign)))
        if _any(pc.and_not(zero, pc.starts_with(column, f"{sign}0."))):
            return None
    if _any(pc.starts_with(column, "+")):
        return None
    numbers = pc.cast(column, kind.arrow)
    if not _any(pc.is_finite(numbers)):
        return None  # nothing but `nan` and `inf`, which are words as well
    return numbers if _is_exact(column, numbers, lengths) else None


def _is_exact(texts: pa.Array, numbers: pa.Array, lengths: pa.Array) -> bool:
    """Whether each text's value is its double's. So it is up to EXACT_DIGITS, but near the ends of the range."""
    unlikely = pc.or_(pc.greater(lengths, EXACT_DIGITS), pc.less(pc.abs(numbers), SMALLEST_EXACT))
    unlikely = pc.fill_null(pc.or_(unlikely, pc.is_inf(numbers)), False)
    if not _any(unlikely):
        return True
    texts, numbers = texts.filter(unlikely), numbers.filter(unlikely)
    size, long = pc.abs(numbers), pc.greater(lengths.filter(unlikely), EXACT_DIGITS)
    plain = pc.invert(pc.match_substring(texts, "e", ignore_case=True))
    if _any(pc.and_(pc.and_(long, plain), pc.and_(pc.greater_equal(size, 10.0**EXACT_DIGITS), pc.is_finite(size)))):
        return False  # such as the numbers of orders, which nobody wants to see rounded
    # A zero must be written as one: a smaller exponent than there is makes one as well.
    tiny = pc.and_(pc.less(size, SMALLEST_EXACT), pc.or_(pc.greater(size, 0.0), pc.invert(plain)))
    doubtful = pc.fill_null(pc.or_(pc.or_(long, tiny), pc.is_inf(numbers)), False)
    texts, numbers = texts.filter(doubtful), numbers.filter(doubtful)
    shown = pc.cast(numbers, pa.string())
    short = pc.if_else(pc.match_substring(texts, "."), pc.utf8_rtrim(texts, "0"), texts)
    doubtful = pc.not_equal(pc.utf8_rtrim(short, "."), shown)
    pairs = zip(texts.filter(doubtful).to_pylist(), shown.filter(doubtful).to_pylist(), strict=True)
    return all(_says_the_same(text, number) for text, number in pairs)


def _says_the_same(text: str, number: str) -> bool:
    """Whether a text is exactly this number; a large exponent is none, nor is a word that is written as a number."""
    one, other = Decimal(text), Decimal(number)
    return one == other or (one.is_nan() and other.is_nan())


def _read_boolean(column: pa.Array, _kind: Kind) -> pa.Array | None:
    longest = pc.max(pc.binary_length(column)).as_py()
    if longest is None or longest > len("false"):
        return None
    words = pc.utf8_lower(column)
    if _any(pc.invert(pc.is_in(words, value_set=pa.array(["true", "false", None])))):
        return None
    return pc.equal(words, "true")


def _read_date(column: pa.Array, kind: Kind) -> pa.Array | None:
    return pc.cast(column, kind.arrow)


def _read_time(column: pa.Array, kind: Kind) -> pa.Array | None:
    shortest = pc.min(pc.binary_length(column)).as_py()
    if shortest is not None and shortest <= DATE_LENGTH:
        return None  # a date among times: as a timestamp it would come back with a time of day
    return pc.cast(column, kind.arrow)


def _read_instant(column: pa.Array, kind: Kind) -> pa.Array | None:
    utc = pc.or_(pc.ends_with(column, "Z"), pc.ends_with(column, "+00:00"))
    if _any(pc.invert(utc)):
        return None
    return _read_time(column, kind)


def _read_time_text(column: pa.Array, _kind: Kind) -> pa.Array | None:
    for unit in ("us", "ns"):
        try:
            pc.cast(column, pa.timestamp(unit, "UTC"))
        except pa.ArrowInvalid:
            continue
        return column
    return None


_READERS = {
    Kind.INTEGER: _read_integer,
    Kind.NUMBER: _read_number,
    Kind.BOOLEAN: _read_boolean,
    Kind.DATE: _read_date,
    Kind.TIMESTAMP: _read_time,
    Kind.TIMESTAMP_NS: _read_time,
    Kind.INSTANT: _read_instant,
    Kind.INSTANT_NS: _read_instant,
    Kind.TIME_TEXT: _read_time_text,
}
