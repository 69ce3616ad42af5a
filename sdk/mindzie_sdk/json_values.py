"""Turns what notebooks hold (numpy scalars, timestamps, tables, NaN) into plain JSON values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import os
import sys
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from mindzie_sdk.errors import NotSavableError

MAX_DEPTH = 64
"""Levels of nesting: deeper than any result people read, and far below what JSON parsers refuse."""

INTEGERS = range(-(2**63), 2**64)
"""Whole numbers that every reader of the saved JSON keeps."""


def to_json(value: Any) -> Any:
    """Returns `value` as None, bool, int, float, str, list or dict with text keys.

    NaN, infinities and NaT become null. Times become RFC 3339 text (those with a time zone in UTC with `Z`), durations
    seconds, arrays and sets lists, a Series an object by its index, a DataFrame a list of records, an enum its value.

    Raises NotSavableError, naming the place, for anything else, for whole numbers of more than 64 bits, for two keys
    that become one, and for nesting deeper than MAX_DEPTH (a value that contains itself).
    """
    return _convert(value, "value", 0)


def _convert(value: Any, place: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotSavableError(f"{place[:80]}… is nested deeper than {MAX_DEPTH} levels: does it contain itself?")
    if isinstance(value, enum.Enum):
        return _convert(value.value, place, depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if int(value) not in INTEGERS:
            raise NotSavableError(
                f"{place} is a whole number of more than 64 bits, which JSON readers round: save its text, str(…)"
            )
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        # A lone surrogate cannot be written as UTF-8, and strict JSON readers refuse its escape.
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return _object(value.items(), place, depth)
    if isinstance(value, list | tuple):
        return [_convert(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, AbstractSet):
        items = [_convert(item, place, depth + 1) for item in value]
        return sorted(items, key=lambda item: (type(item).__name__, str(item)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _object(members.items(), place, depth)
    return _convert_other(value, place, depth)


def _convert_other(value: Any, place: str, depth: int) -> Any:
    # Loaded modules only: a value of pandas or numpy cannot exist before somebody has imported them.
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None:
        if value is pandas.NaT or value is pandas.NA:
            return None
        if isinstance(value, pandas.DataFrame):
            return [_object(row.items(), f"{place}[{i}]", depth + 1) for i, row in enumerate(value.to_dict("records"))]
        if isinstance(value, pandas.Series):
            return _object(zip(value.index, value, strict=True), place, depth)
        if isinstance(value, pandas.Index | pandas.api.extensions.ExtensionArray):
            return _convert(list(value), place, depth)
        if isinstance(value, pandas.Period | pandas.Interval):
            return str(value)
    if numpy is not None:
        if isinstance(value, numpy.datetime64 | numpy.timedelta64):
            return _numpy_time(value, numpy)
        if isinstance(value, numpy.generic | numpy.ndarray) and value.dtype.kind != "c":
            plain = value.tolist()
            if not isinstance(plain, numpy.generic):  # long double has no plain form
                return _convert(plain, place, depth + 1)
            return _convert(float(plain), place, depth)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return value.isoformat()
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    raise NotSavableError(f"{place} is a {type(value).__name__}, which has no JSON form: save its text or its numbers")


def _numpy_time(value: Any, numpy: Any) -> str | float | None:
    if numpy.isnat(value):
        return None
    if isinstance(value, numpy.timedelta64):
        return float(value / numpy.timedelta64(1, "s"))
    return str(numpy.datetime_as_string(value))


def _object(items: Any, place: str, depth: int) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for key, item in items:
        name = _key(key, place)
        if name in converted:
            raise NotSavableError(f"{place} has two keys that both become {name!r} in JSON: rename one")
        converted[name] = _convert(item, f"{place}.{name}", depth + 1)
    return converted


def _key(key: Any, place: str) -> str:
    if isinstance(key, tuple):  # the rows of a grouped table
        return " / ".join(_key(part, place) for part in key)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(int(key))
    plain = _convert(key, f"a key of {place}", 0)
    if plain is None:
        return "null"
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return plain if isinstance(plain, str) else str(plain)
