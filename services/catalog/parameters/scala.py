"""Parameters of a Scala cell: `val` and `var` with a literal, one a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from services.catalog.parameters.declared import NO_DEFAULT, Declared
from services.catalog.parameters.lines import assignments, elements, last_of_each, string

_ASSIGNMENT = re.compile(
    r"^(?:val|var)\s++(?P<name>[A-Za-z]\w*+)\s*+(?::(?P<type>[\w.\[\], ]++))?\s*+=(?!=)\s*+(?P<value>.*)$"
)
_INTEGER = re.compile(r"^-?\d{1,18}[lL]?\Z", re.ASCII)
_NUMBER = re.compile(r"^-?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?[dDfF]?\Z", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "None": None}
_TYPES = {
    "Boolean": "boolean",
    "Byte": "integer",
    "Short": "integer",
    "Int": "integer",
    "Long": "integer",
    "BigInt": "integer",
    "Float": "number",
    "Double": "number",
    "BigDecimal": "number",
    "String": "string",
}
_COLLECTIONS = ("Seq", "List", "Array", "Vector")


def read(source: str) -> list[Declared]:
    """The parameters in order."""
    return last_of_each(_declared(source))


def _declared(source: str) -> Iterator[Declared]:
    for line in assignments(source, _ASSIGNMENT, "//"):
        value = _literal(line.value)
        for collection in _COLLECTIONS:
            if value is NO_DEFAULT:
                value = elements(line.value, f"{collection}(", _literal)
        types = ["array"] if line.type.split("[")[0] in _COLLECTIONS else []
        if line.type in _TYPES:
            types = [_TYPES[line.type]]
        yield Declared(name=line.name, types=types, default=value, description=line.comment)


def _literal(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text.rstrip("lL"))
    if _NUMBER.match(text):
        return float(text.rstrip("dDfF"))
    return string(text)
