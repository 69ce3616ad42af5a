"""Who may do what on the internal HTTP address: the ticket a request presents, checked against its path."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from shared import tickets
from shared.contracts.base import Wire
from shared.errors import NotFound, Unauthorized

SCHEME = "Ticket "
"""The Authorization scheme of tickets."""

ClaimsT = TypeVar("ClaimsT", bound=Wire)


def claims(request: web.Request, *, key: str, purpose: str) -> dict[str, Any]:
    """What the request's ticket says; raises Unauthorized."""
    header = request.headers.get("Authorization", "")
    if not header.startswith(SCHEME):
        raise Unauthorized("A ticket is needed.")
    try:
        return tickets.verify(header.removeprefix(SCHEME), key=key, purpose=purpose)
    except tickets.BadTicket as error:
        raise Unauthorized(f"The ticket is not good: {error}.") from error


def claimed(request: web.Request, model: type[ClaimsT], *, key: str, purpose: str) -> ClaimsT:
    """The ticket's claims as a model; raises Unauthorized."""
    try:
        return model.model_validate(claims(request, key=key, purpose=purpose))
    except ValidationError as error:
        raise Unauthorized("The ticket does not say what it is for.") from error


def matching_id(request: web.Request, ticketed_id: object) -> UUID:
    """The id in the path, which must be the ticket's; raises NotFound."""
    try:
        wanted = UUID(request.match_info["id"])
    except ValueError as error:
        raise NotFound("There is no such thing.") from error
    if str(wanted) != str(ticketed_id):
        raise NotFound("The ticket is for something else.")
    return wanted
