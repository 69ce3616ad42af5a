"""Whole numbers of more than 64 bits in JSON text, which our JSON reader would round without a word."""

from __future__ import annotations

import json
import re
from typing import Any

INTEGERS = range(-(2**63), 2**64)
"""Whole numbers that every service's JSON keeps: those of 64 bits, signed or not."""

LONGEST_DIGITS = 20
"""Digits of the longest of them."""

MESSAGE = "is a whole number of more than 64 bits, which JSON readers round; send it as a string"
"""What is wrong with such a number, and what to do."""

Place = tuple[str | int, ...]

_LONG = re.compile(rb"\d{19}")
_WHOLE = re.compile(rb"(?<![\d.eE+-])-?\d{19,}+(?![.eE])")


class _Large(str):
    """The digits of a number that is too large."""

    __slots__ = ()


def large_integers(raw: bytes, most: int) -> list[Place]:
    """Return where valid JSON text has whole numbers of more than 64 bits, in the order of the text, at most `most`.

    One pass for nearly every text; only one that has such a number, perhaps within a string, is read whole, and again.
    Its depth must have been checked.
    """
    if _LONG.search(raw) is None:
        return []
    if not any(_is_large(found[0].decode()) for found in _WHOLE.finditer(raw)):
        return []
    return _places(json.loads(raw, parse_int=_marked), most)


def _is_large(digits: str) -> bool:
    return len(digits.lstrip("-0")) > LONGEST_DIGITS or int(digits) not in INTEGERS


def _marked(digits: str) -> int | _Large:
    return _Large(digits) if len(digits) >= LONGEST_DIGITS - 1 and _is_large(digits) else 0


def _places(value: Any, most: int) -> list[Place]:
    found: list[Place] = []
    waiting: list[tuple[Place, Any]] = [((), value)]
    while waiting and len(found) < most:
        place, item = waiting.pop()
        if isinstance(item, _Large):
            found.append(place)
        elif isinstance(item, list):
            waiting += [((*place, number), entry) for number, entry in reversed(list(enumerate(item)))]
        elif isinstance(item, dict):
            waiting += [((*place, name), entry) for name, entry in reversed(item.items())]
    return found
