"""How numbers and times may be written in a text, besides the plain way: decimal commas and other orders of a date.

A form turns such texts into the plain way (`1.5`, `2011-10-11 13:45`), from which `kinds` reads them. It fits a column
only when it fits every value, and a date that could be read in two ways is not taken for a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from services.artifacts.formats import kinds
from services.artifacts.formats.kinds import Kind

ISO = "ISO 8601"
"""What a time format is called that needs no form."""

DIRECTIVES = {
    "Y": r"(\d{4})",
    "m": r"(\d{1,2})",
    "d": r"(\d{1,2})",
    "H": r"(\d{1,2})",
    "M": r"(\d{2})",
    "S": r"(\d{2})",
    "f": r"(\d{1,9})",
    "z": r"(Z|[+-]\d{2}:?\d{2})",
}
"""The directives of `strptime` that are digits, and what each stands for."""

NAMED_DIRECTIVES = "ybBIp"
"""Those that are names or depend on another one; they are read by the C library, without fractions of a second."""

DATE_ORDERS = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d %b %Y",
    "%d-%b-%Y",
)
CLOCKS = (" %H:%M:%S", " %H:%M", " %H:%M:%S.%f", "", " %I:%M:%S %p", " %I:%M %p")
FOUND = tuple(order + clock for order in DATE_ORDERS for clock in CLOCKS)
"""The formats that are looked for."""

LONGEST_TIME = 60
"""Characters of a time at most."""

SHAPES = {f"%{letter}": r"\s*+\d++" for letter in "YmdHMSfI"} | {"%b": r"[^\W\d_]++\.?+", "%p": r"[^\W\d_]++"}
"""What each directive of the formats that are looked for may look like, at most."""

_COMMA = r"^-?\d+(,\d+)?$"
_TIMES = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NS, Kind.INSTANT, Kind.INSTANT_NS, Kind.TIME_TEXT})


@dataclass(frozen=True)
class Form:
    """A way of writing. The default is the plain one."""

    decimal: str = "."
    time_format: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether texts are taken as they are."""
        return self == PLAIN

    def plain(self, column: pa.Array) -> pa.Array | None:
        """The texts of a column written the plain way; None when one of them is not in this form."""
        if self.is_plain:
            return column
        present = pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, pa.string()), column)
        if self.time_format is not None:
            return _iso(present, self.time_format)
        if not _all(pc.match_substring_regex(present, _COMMA)):
            return None
        return pc.replace_substring(present, ",", ".")

    def read(self, column: pa.Array, kind: Kind) -> pa.Array | None:
        """The column as `kind` stores it, or None when a value does not fit."""
        if kind is Kind.STRING:
            return column
        texts = self.plain(column)
        return None if texts is None else kinds.read(texts, kind)


PLAIN = Form()


Way = tuple[Kind, Form]
"""What a column's values may be, and how they are written then."""


def infer(column: pa.Array, *, commas: bool, points: bool, time_format: str | None) -> list[Way]:
    """The narrowest kind, and the form, that fit every value; several where they may be times in several forms.

    `commas` and `points`: which decimals are thinkable; `time_format`: the only other way in which times may be
    written, None for all that are known."""
    kind = kinds.infer(column)
    if kind is Kind.NUMBER and not points:
        return [(Kind.STRING, PLAIN)]
    if kind is not Kind.STRING and not (kind is Kind.INTEGER and time_format):
        return [(kind, PLAIN)]
    sample = column.filter(pc.greater(pc.binary_length(column), 0)).slice(0, kinds.SAMPLE_VALUES)
    if commas and kind is Kind.STRING:
        form = Form(decimal=",")
        if form.read(sample, Kind.NUMBER) is not None and form.read(column, Kind.NUMBER) is not None:
            return [(Kind.NUMBER, form)]
    fitting = []
    for candidate in (time_format,) if time_format else _thinkable(sample):
        form = Form(time_format=candidate)
        if _as_times(sample, form) in _TIMES and (found := _as_times(column, form)) in _TIMES:
            fitting.append((found, form))
    return fitting or [(kind, PLAIN)]


def _thinkable(sample: pa.Array) -> list[str]:
    """The formats that the first value may be in. A table may have thousands of columns, and trying all formats on each
    takes milliseconds."""
    first = sample[0].as_py() if len(sample) else ""
    if len(first) > LONGEST_TIME or not first[:1].isdigit():
        return []
    return [candidate for candidate in FOUND if _shape(candidate).match(first)]


@lru_cache(maxsize=256)
def _shape(time_format: str) -> re.Pattern[str]:
    """A pattern for every text that can be in this format, and some others."""
    parts = re.split(r"(%.)", time_format)
    return re.compile("".join(SHAPES.get(part, re.escape(part).replace(r"\ ", r"\s*+")) for part in parts) + r"\Z")


def narrowed(ways: list[Way], column: pa.Array) -> list[Way]:
    """Those of the ways in which these values are times, too."""
    left = []
    for kind, form in ways:
        both = kinds.join(kind, _as_times(column, form))
        if both in _TIMES:
            left.append((both, form))
    return left


def _as_times(column: pa.Array, form: Form) -> Kind:
    texts = form.plain(column)
    return kinds.infer(texts) if texts is not None else Kind.STRING


def join(one: Way, other: Way) -> Way:
    """The narrowest that both fit."""
    (kind, form), (new_kind, new_form) = one, other
    if new_kind is Kind.EMPTY:
        return one
    if kind is Kind.EMPTY:
        return other
    if form == new_form:
        return kinds.join(kind, new_kind), form
    comma = next((each for each in (form, new_form) if each.decimal == ","), None)
    if comma is not None and {kind, new_kind} <= {Kind.INTEGER, Kind.NUMBER} and Kind.INTEGER in (kind, new_kind):
        return Kind.NUMBER, comma  # whole numbers are written alike in both
    return Kind.STRING, PLAIN


def _iso(column: pa.Array, time_format: str) -> pa.Array | None:
    pattern, template = _rewriting(time_format)
    if pattern is None:
        return _by_name(column, time_format)
    if not _all(pc.match_substring_regex(column, pattern)):
        return None
    texts = pc.replace_substring_regex(column, pattern, template)
    for place in (r"-(\d)-", r"-(\d)( |$)", r" (\d):"):
        padded = {r"-(\d)-": r"-0\1-", r"-(\d)( |$)": r"-0\1\2", r" (\d):": r" 0\1:"}[place]
        texts = pc.replace_substring_regex(texts, place, padded)
    return texts


def _by_name(column: pa.Array, time_format: str) -> pa.Array | None:
    try:
        moments = pc.strptime(column, format=time_format, unit="s")
    except pa.ArrowInvalid:
        return None
    if not _all(pc.equal(_comparable(pc.strftime(moments, format=time_format)), _comparable(column))):
        return None  # the C library takes what is no date, such as 31 February
    clock = any(f"%{letter}" in time_format for letter in "HI")
    return pc.strftime(moments, format="%Y-%m-%d %H:%M:%S" if clock else "%Y-%m-%d")


def _comparable(column: pa.Array) -> pa.Array:
    """Texts without what may differ: zeros before a digit and the case of letters."""
    return pc.replace_substring_regex(pc.utf8_lower(column), r"(^|[^0-9])0", r"\1")


@lru_cache(maxsize=256)
def _rewriting(time_format: str) -> tuple[str | None, str]:
    """A regular expression for texts in this format, and the ISO text that is made of its groups."""
    letters = re.findall(r"%(.)", time_format)
    if any(letter in NAMED_DIRECTIVES for letter in letters):
        return None, ""
    pattern = "".join(
        DIRECTIVES[part[1]] if part.startswith("%") else re.escape(part) for part in re.split(r"(%.)", time_format)
    )
    group = {letter: f"\\{number}" for number, letter in enumerate(letters, start=1)}
    template = f"{group['Y']}-{group['m']}-{group['d']}"
    if "H" in group:
        template += f" {group['H']}:{group.get('M', '00')}:{group.get('S', '00')}"
        template += f".{group['f']}" if "f" in group else ""
        template += group.get("z", "")
    return f"^{pattern}$", template


def _all(mask: pa.Array) -> bool:
    return bool(pc.all(mask).as_py() is not False)
