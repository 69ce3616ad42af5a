"""Parameters of languages that are read line by line: one plain assignment a line, a comment behind or above it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from services.catalog.parameters.declared import NO_DEFAULT, Declared

_QUOTED = re.compile(r"^'((?:[^'\\]++|\\.)*+)'$")


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """An assignment as written: name, declared type (empty without one), right-hand side, comment."""

    name: str
    type: str
    value: str
    comment: str


def assignments(source: str, pattern: re.Pattern[str], comment: str) -> Iterator[Assignment]:
    """The assignments of `source`. `pattern` has the groups name, value and perhaps type; `comment` begins one."""
    above: list[str] = []
    for line in source.splitlines():
        code, note = _split(line, comment)
        match = pattern.match(code)
        if match:
            groups = match.groupdict()
            yield Assignment(
                name=match["name"],
                type=(groups.get("type") or "").strip(),
                value=match["value"].strip().rstrip(";").strip(),
                comment=note or " ".join(above),
            )
        if note and not code.strip():
            above.append(note)
        else:
            above.clear()


def string(text: str) -> Any:
    """A string literal's value, NO_DEFAULT when it is none."""
    single = _QUOTED.match(text)
    if single:
        text = '"' + single[1].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return NO_DEFAULT
    return value if isinstance(value, str) else NO_DEFAULT


def elements(text: str, opening: str, literal: Callable[[str], Any]) -> Any:
    """The values of `c(1, 2)` or `Seq(1, 2)`, NO_DEFAULT when one of them is no literal."""
    if not (text.startswith(opening) and text.endswith(")")):
        return NO_DEFAULT
    values = [literal(part.strip()) for part in _commas(text[len(opening) : -1]) if part.strip()]
    return NO_DEFAULT if any(value is NO_DEFAULT for value in values) else values


def last_of_each(declared: Iterator[Declared]) -> list[Declared]:
    """In order; of a name assigned twice the last assignment counts."""
    found: dict[str, Declared] = {}
    for item in declared:
        found.pop(item.name, None)
        found[item.name] = item
    return list(found.values())


def _split(line: str, comment: str) -> tuple[str, str]:
    """The code and the comment of a line; a comment sign within quotes is code."""
    for position in _outside_quotes(line):
        if line.startswith(comment, position):
            return line[:position], line[position + len(comment) :].lstrip(f"{comment}'").strip()
    return line, ""


def _commas(text: str) -> list[str]:
    parts, start = [], 0
    for position in _outside_quotes(text):
        if text[position] == ",":
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _outside_quotes(text: str) -> Iterator[int]:
    quote, escaped = "", False
    for position, character in enumerate(text):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "\"'":
            quote = character
        else:
            yield position
