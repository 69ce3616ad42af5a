"""Cursors of lists that are in the order of a time and an id."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from uuid import UUID

import orjson

from shared.errors import Fault, Invalid


def cursor(moment: datetime, identity: UUID) -> str:
    """An opaque mark after which the next page begins."""
    return base64.urlsafe_b64encode(orjson.dumps([moment.isoformat(), str(identity)])).decode()


def place(text: str | None) -> tuple[datetime, UUID] | None:
    """The time and id inside a cursor; raises Invalid for one that we did not make."""
    if not text:
        return None
    try:
        moment, identity = orjson.loads(base64.urlsafe_b64decode(text))
        found = datetime.fromisoformat(moment), UUID(identity)
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise _refusal() from error
    if found[0].tzinfo is None:
        raise _refusal()
    return found


def _refusal() -> Invalid:
    return Invalid(
        "The cursor cannot be read.",
        faults=[Fault(path="cursor", message="is none that a page of this list has given out")],
    )
