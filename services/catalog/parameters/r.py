"""Parameters of an R cell: plain assignments of literals, one a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from services.catalog.parameters.declared import NO_DEFAULT, Declared
from services.catalog.parameters.lines import assignments, elements, last_of_each, string

_ASSIGNMENT = re.compile(r"^(?P<name>[A-Za-z][\w.]*+)\s*+(?:<-|=)\s*+(?!=)(?P<value>.*)$")
_NUMBER = re.compile(r"^-?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?\Z", re.ASCII)
_INTEGER = re.compile(r"^-?\d{1,18}L\Z", re.ASCII)
_WORDS = {"TRUE": True, "T": True, "FALSE": False, "F": False, "NULL": None, "NA": None}


def read(source: str) -> list[Declared]:
    """The parameters in order."""
    return last_of_each(_declared(source))


def _declared(source: str) -> Iterator[Declared]:
    for line in assignments(source, _ASSIGNMENT, "#"):
        value = _literal(line.value)
        if value is NO_DEFAULT:
            value = elements(line.value, "c(", _literal)
        # R has one kind of number unless it says 5L: a parameter written 5 may be given as 5.5.
        types = ["number"] if isinstance(value, float | int) and not _is_strict(line.value, value) else []
        yield Declared(name=line.name, types=types, default=value, description=line.comment)


def _is_strict(text: str, value: Any) -> bool:
    return isinstance(value, bool) or _INTEGER.match(text) is not None


def _literal(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text[:-1])
    if _NUMBER.match(text):
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return string(text)
