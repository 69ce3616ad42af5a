"""Large replies of writes, kept for as long as the command logs of the services that gave them (shared.command_log).

Their keys name the notebook and the thing that they show: with that they go. All others go by age.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from aiohttp import web

from services.artifacts import claim_checks, ticketed
from shared import payloads
from shared.errors import NotFound
from shared.objects import ObjectStore

if TYPE_CHECKING:
    from services.artifacts.app import App

FOLDER = "replies/"
"""Above all tenants' folders, which are named by GUIDs."""

KEPT = timedelta(hours=25)
"""How long a reply is kept: an hour longer than any command log has its reference."""


async def receive(app: App, request: web.Request) -> web.Response:
    """Store a reply under its reference. Raises TooLarge and Unavailable."""
    return await claim_checks.take(app, request, _key(app, request))


async def send(app: App, request: web.Request) -> web.StreamResponse:
    """Send the reply behind a reference. Raises NotFound and Unavailable."""
    return await claim_checks.give(app, request, [_key(app, request)])


def prefix(notebook_id: UUID, execution_id: UUID | None = None) -> str:
    """Where the replies are that show a notebook and its executions, or one of these."""
    return f"{FOLDER}{notebook_id}/" + (f"{execution_id}/" if execution_id else "")


async def too_old(objects: ObjectStore, now: datetime) -> list[str]:
    """The replies that no log refers to any more."""
    return [each.key for each in await objects.listing(FOLDER) if now - each.modified_at > KEPT]


def _key(app: App, request: web.Request) -> str:
    claims = ticketed.claims(request, key=app.internal_secret, purpose=payloads.REPLY_PURPOSE)
    try:
        parts = [str(UUID(request.match_info[name])) for name in ("owner", "subject", "id")]
    except ValueError as error:
        raise NotFound("There is no such reply.") from error
    reference = "/".join(parts)
    if claims.get("payload") != reference:
        raise NotFound("The ticket is for something else.")
    return FOLDER + reference
