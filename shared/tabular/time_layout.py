"""How the times of a column were written, so that they can be written out again digit by digit.

Parquet keeps the instant alone. Where all values of a column are written in one way, that way is noted in the file;
where they are not, they come back in one way all the same, and only their looks differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc

NOTE = "atelier.times"
"""Under which key a Parquet file notes the layouts of its columns."""

THREES, TRIMMED = "threes", "trimmed"
"""Fractions in groups of three digits, as many as are needed; and without zeros at the end."""

_DATE_LENGTH = len("2011-10-11")
_SECONDS_LENGTH = len("2011-10-11 13:45:40")
_MINUTES_LENGTH = len("2011-10-11 13:45")
_MOST_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """`digits`: so many of a second, always (-1: no seconds), or one of the words above, or `0|n` for none or n."""

    separator: str = " "
    zone: str = ""
    digits: str = THREES


def render(column: pa.Array, layout: Layout) -> pa.Array:
    """A column of times as texts in this layout."""
    unit, zone = column.type.unit, column.type.tz
    wall = column if zone is None else pc.local_timestamp(column)
    texts = pc.cast(wall, pa.string())
    ticks = pc.cast(wall, pa.int64())
    most = _MOST_DIGITS[unit]
    if layout.digits == THREES:
        for digits in range(most - 3, -1, -3):
            texts = pc.if_else(_is_round(ticks, most - digits), _cut(texts, digits), texts)
    elif layout.digits == TRIMMED:
        trimmed = pc.replace_substring_regex(texts, "0+$", "")
        texts = pc.if_else(_is_round(ticks, most), _cut(texts, 0), trimmed)
    elif layout.digits.startswith("0|"):
        texts = pc.if_else(_is_round(ticks, most), _cut(texts, 0), _cut(texts, int(layout.digits[2:])))
    else:
        texts = _cut(texts, int(layout.digits))
    if layout.separator == "T":
        texts = pc.replace_substring(texts, " ", "T")
    if zone is None:
        return texts
    suffix = layout.zone or ("Z" if zone == "UTC" else "")
    ending = pa.scalar(suffix, pa.string()) if suffix else pc.strftime(column, format="%z")
    return pc.binary_join_element_wise(texts, ending, "")


class Observer:
    """Watches the times of one column pass by."""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._broken = False

    @property
    def layout(self) -> Layout | None:
        """The layout of all values seen; None when there is no such, or nothing was seen."""
        return None if self._broken else self._layout

    def see(self, texts: pa.Array, times: pa.Array) -> None:
        """Take a batch into account: its texts, and the times they were read as."""
        texts = texts.filter(pc.is_valid(times)) if times.null_count else texts
        if self._broken or not len(texts):
            return
        if self._layout is None:
            present = times.drop_null()
            self._layout = next((each for each in _candidates(texts, times) if _holds(each, texts, present)), None)
            self._broken = self._layout is None
        else:
            self._broken = not _holds(self._layout, texts, times.drop_null())


def encode(layouts: Mapping[str, Layout]) -> str:
    """What a Parquet file notes."""
    return orjson.dumps({name: asdict(layout) for name, layout in layouts.items()}).decode()


def decode(metadata: Mapping[bytes, bytes] | None) -> dict[str, Layout]:
    """The layouts that a Parquet file notes."""
    noted = (metadata or {}).get(NOTE.encode())
    return {name: Layout(**members) for name, members in orjson.loads(noted).items()} if noted else {}


def _candidates(texts: pa.Array, times: pa.Array) -> list[Layout]:
    first = texts[0].as_py()
    separator = "T" if "T" in first else " "
    zone = "" if times.type.tz is None else ("Z" if first.endswith("Z") else "+00:00")
    longest = pc.max(pc.binary_length(texts)).as_py() - len(zone)
    most = longest - _SECONDS_LENGTH - 1
    exact = "-1" if longest == _MINUTES_LENGTH else str(max(most, 0))
    return [Layout(separator=separator, zone=zone, digits=digits) for digits in (exact, f"0|{exact}", THREES, TRIMMED)]


def _holds(layout: Layout, texts: pa.Array, times: pa.Array) -> bool:
    """Whether all texts are in this layout. A fixed number of digits shows in the length; the rest is written out."""
    if layout.digits in (THREES, TRIMMED) or layout.digits.startswith("0|"):
        if layout.digits in ("0|0", "0|-1"):
            return False
        return bool(pc.all(pc.equal(render(times, layout), texts)).as_py())
    digits = int(layout.digits)
    length = (_SECONDS_LENGTH + (digits + 1 if digits else 0) if digits >= 0 else _MINUTES_LENGTH) + len(layout.zone)
    bounds = pc.min_max(pc.binary_length(texts)).as_py()
    if (bounds["min"], bounds["max"]) != (length, length):
        return False
    if not _all_have(texts, length, _DATE_LENGTH, layout.separator):
        return False
    return layout.zone != "Z" or _all_have(texts, length, length - 1, "Z")


def _all_have(texts: pa.Array, length: int, place: int, letter: str) -> bool:
    """Whether texts of one length, none of them missing, have this letter at this place."""
    _, offsets, data = texts.buffers()
    first = memoryview(offsets).cast("B").cast("i")[texts.offset]
    written = bytes(memoryview(data)[first : first + len(texts) * length])
    return written[place::length].count(letter.encode()) == len(texts)


def _is_round(ticks: pa.Array, digits: int) -> pa.Array:
    divisor = 10**digits
    return pc.equal(pc.multiply(pc.divide(ticks, divisor), divisor), ticks)


def _cut(texts: pa.Array, digits: int) -> pa.Array:
    length = _MINUTES_LENGTH if digits < 0 else _SECONDS_LENGTH + (digits + 1 if digits else 0)
    return pc.utf8_slice_codeunits(texts, 0, length)
