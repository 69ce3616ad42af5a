"""The JSON of a notebook file, as nbformat reads it: with NaN, Infinity and lone surrogates, which JSON does not have.

Those are replaced, each with a warning that names its place; whole numbers of more than 64 bits are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import orjson

from services.catalog.document import Json
from services.catalog.faults import path_of
from services.catalog.importing.parsed import refused
from services.catalog.limits import MAX_NESTING, deeper_than
from shared import exact_numbers
from shared.errors import MOST_FAULTS, Fault

REPLACEMENT = "\ufffd"
"""In place of a surrogate without its other half."""

_SURROGATE = re.compile("[\ud800-\udfff]")

Place = tuple[str | int, ...]


class _NoNumber(str):
    """The name of a number that JSON does not have."""

    __slots__ = ()


def read(text: str, warnings: list[str]) -> Json:
    """Return the object that a file holds; adds to `warnings` what was replaced. Raises Invalid."""
    try:
        notebook = orjson.loads(text)  # refuses nesting over 1,024 without recursing
        replaced: list[tuple[Place, str]] = []
    except orjson.JSONDecodeError as error:
        notebook, replaced = _read_leniently(text, error)
    place = deeper_than(notebook, MAX_NESTING)
    if place is not None:
        path = path_of(place[:6], "file")
        raise refused([Fault(path=path, message=f"is nested deeper than {MAX_NESTING} levels")])
    if not isinstance(notebook, dict):
        raise refused([Fault(path="file", message="is JSON, but no notebook: a notebook is an object")])
    large = exact_numbers.large_integers(text.encode("utf-8", "surrogatepass"), MOST_FAULTS)
    if large:
        raise refused([Fault(path=path_of(place, "file"), message=exact_numbers.MESSAGE) for place in large])
    warnings += [f"{path_of(place, 'file')} {what}." for place, what in replaced[:MOST_FAULTS]]
    if len(replaced) > MOST_FAULTS:
        warnings.append(f"{len(replaced) - MOST_FAULTS} more values were replaced in the same way.")
    return notebook


def _read_leniently(text: str, refusal: orjson.JSONDecodeError) -> tuple[Any, list[tuple[Place, str]]]:
    """The value and what was replaced in it. Raises Invalid with the strict reader's words for what is no JSON."""
    message = f"is not JSON: {refusal.msg} (line {refusal.lineno})"
    try:
        value = json.loads(text, parse_constant=_NoNumber, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise refused([Fault(path="file", message=message)]) from error
    holder = [value]
    replaced = list(_replace(holder))
    if not replaced:  # the strict reader had another reason, such as its depth
        raise refused([Fault(path="file", message=message)])
    return holder[0], replaced


def _finite(digits: str) -> float | _NoNumber:
    number = float(digits)
    return number if math.isfinite(number) else _NoNumber("-Infinity" if number < 0 else "Infinity")


def _whole(digits: str) -> int:
    """Large numbers are refused by their place in the text; Python would not convert very long ones."""
    return int(digits) if len(digits) <= exact_numbers.LONGEST_DIGITS else 0


def _replace(holder: list[Any]) -> Iterator[tuple[Place, str]]:
    """Replace what JSON does not have below the one item of `holder`; yields each place and what was done."""
    waiting: list[tuple[Place, Any]] = [((), holder)]
    while waiting:
        place, container = waiting.pop()
        inner: list[tuple[Place, Any]] = []
        for key, entry in list(container.items() if isinstance(container, dict) else enumerate(container)):
            name = _clean(key) if isinstance(key, str) else key
            here = () if container is holder else (*place, name)
            if isinstance(entry, _NoNumber):
                container[key] = None
                yield here, f"was {entry}, which JSON does not have; it is null now"
            elif isinstance(entry, str):
                if (clean := _clean(entry)) != entry:
                    container[key] = clean
                    yield here, "had half a surrogate pair, which is no character; it was replaced"
            elif isinstance(entry, dict | list):
                inner.append((here, entry))
            if name != key:
                container[name] = container.pop(key)
                yield here, "had half a surrogate pair in its name; it was replaced"
        waiting += reversed(inner)


def _clean(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub(REPLACEMENT, text)
