"""Cursors of lists: the key of the last thing that a page showed, opaque to clients; the next page begins after it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from shared.errors import Fault, Invalid

LARGEST = 2**63 - 1
"""The largest number of a database."""


def cursor(*key: str | int | datetime | UUID) -> str:
    """The mark for a key."""
    # asyncpg's ids are of a class of their own, which only their text is JSON of.
    return base64.urlsafe_b64encode(orjson.dumps(key, default=str)).decode().rstrip("=")


def place(text: str, *types: type) -> tuple[Any, ...]:
    """The key in a cursor, of values of these types; raises Invalid for one that no page of theirs has given out."""
    try:
        values = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(values, list):
            raise TypeError("a key is a list")
        return tuple(_value(value, kind) for value, kind in zip(values, types, strict=True))
    except (ValueError, TypeError, OverflowError) as error:
        message = "is none that a page of this list has given out"
        raise Invalid(f"The cursor {message}.", faults=[Fault(path="cursor", message=message)]) from error


def _value(value: Any, kind: type) -> Any:
    """A value as its type; raises ValueError, TypeError or OverflowError for anything that is none."""
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("a time without its zone")
        return moment.astimezone(UTC)
    if kind is UUID and isinstance(value, str):
        return UUID(value)
    if type(value) is not kind:  # True is an int, too
        raise TypeError("a value of another type")
    if (isinstance(value, int) and not 0 <= value <= LARGEST) or (isinstance(value, str) and "\x00" in value):
        raise ValueError("a value that no key has")
    return value
