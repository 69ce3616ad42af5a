"""Cursors of lists that are in the order of a time and an id."""

from __future__ import annotations

import base64
from datetime import datetime
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from shared.contracts.base import Moment
from shared.errors import Fault, Invalid

_PLACE = TypeAdapter(tuple[Moment, UUID])


def cursor(moment: datetime, identity: UUID) -> str:
    """An opaque mark after which the next page begins."""
    return base64.urlsafe_b64encode(orjson.dumps([moment.isoformat(), str(identity)])).decode()


def place(text: str | None) -> tuple[datetime, UUID] | None:
    """The time and id inside a cursor; raises Invalid for one that we did not make."""
    if not text:
        return None
    try:
        return _PLACE.validate_json(base64.urlsafe_b64decode(text), strict=True)
    except ValueError as error:
        raise Invalid(
            "The cursor cannot be read.",
            faults=[Fault(path="cursor", message="is none that a page of this list has given out")],
        ) from error
