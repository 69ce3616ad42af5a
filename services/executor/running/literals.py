"""JSON values as expressions of R and Scala, for the cell that sets a run's parameters.

papermill's own translators write texts with Python's escapes (`\\xe9`), which neither language reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

EXACT_LIMIT = 2**53
"""Up to here every integer has a double of its own."""

INT_LIMIT, LONG_LIMIT = 2**31, 2**63
"""Integers of 32 and 64 bits end below these."""

SCALA_TEXT = 16_000
"""Characters of one text in Scala; a class file takes 65,535 bytes for one, and a character takes up to three."""

_SPECIAL = re.compile(r'[\\"\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]')
_NAMED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def r_cell(values: dict[str, Any]) -> str:
    """A cell that sets variables in R."""
    return "# Parameters of this execution\n" + "".join(f"{name} = {r(value)}\n" for name, value in values.items())


def scala_cell(values: dict[str, Any]) -> str:
    """A cell that sets values in Scala."""
    return "// Parameters of this execution\n" + "".join(
        f"val {name} = {scala(value)}\n" for name, value in values.items()
    )


def r(value: Any) -> str:
    """As papermill has it: numbers are doubles, arrays and objects lists. R's texts cannot hold the character 0."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        exact = abs(value) <= EXACT_LIMIT or abs(value) >= LONG_LIMIT
        return str(value) if exact else f'bit64::as.integer64("{value}")'
    if isinstance(value, float):
        return _number(value, "NaN", "Inf")
    if isinstance(value, list):
        return f"list({', '.join(map(r, value))})"
    if isinstance(value, dict):
        return f"list({', '.join(f'{_r_name(name)} = {r(item)}' for name, item in value.items())})"
    return _quoted(str(value).replace("\0", ""))


def scala(value: Any) -> str:
    """As papermill has it: arrays are `Seq`, objects `Map`, null is `None`."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if -INT_LIMIT <= value < INT_LIMIT:
            return str(value)
        return f"{value}L" if -LONG_LIMIT <= value < LONG_LIMIT else f'BigInt("{value}")'
    if isinstance(value, float):
        return _number(value, "Double.NaN", "Double.PositiveInfinity")
    if isinstance(value, list):
        return f"Seq({', '.join(map(scala, value))})"
    if isinstance(value, dict):
        return f"Map({', '.join(f'{scala(name)} -> {scala(item)}' for name, item in value.items())})"
    text = str(value)
    if len(text) <= SCALA_TEXT:
        return _quoted(text)
    pieces = (text[start : start + SCALA_TEXT] for start in range(0, len(text), SCALA_TEXT))
    return f"Seq({', '.join(map(_quoted, pieces))}).mkString"


CELLS: dict[str, Callable[[dict[str, Any]], str]] = {"r": r_cell, "scala": scala_cell}
"""How the cell is written, by kernel type."""


def _r_name(name: str) -> str:
    """The name of a list's member; the empty one has no text."""
    return _quoted(name.replace("\0", "")) if name.replace("\0", "") else "` `"


def _number(value: float, nan: str, infinity: str) -> str:
    if math.isfinite(value):
        return repr(value)
    return nan if math.isnan(value) else infinity if value > 0 else f"-{infinity}"


def _quoted(text: str) -> str:
    """A text in the escapes that both languages know. A half of a surrogate pair is no character, and is left out."""
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if character in _NAMED:
        return _NAMED[character]
    return "" if "\ud800" <= character <= "\udfff" else f"\\u{ord(character):04x}"
