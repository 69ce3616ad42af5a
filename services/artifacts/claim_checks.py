"""Large message bodies that wait for their reader (DESIGN.md decision 3), without any row.

Whoever sent one or has read one drops it; what a killed process left is swept some minutes later.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from uuid import UUID

import aiohttp
from aiohttp import web
from yarl import URL

from services.artifacts import downloads, ticketed
from services.artifacts.incoming import Spooled
from services.artifacts.metrics import BYTES_IN, BYTES_OUT
from shared import payloads
from shared.errors import NotFound, Unavailable
from shared.objects import ObjectStore

if TYPE_CHECKING:
    from pathlib import Path

    from services.artifacts.app import App

FOLDER = "payloads/"
"""Above all tenants' folders, which are named by GUIDs."""

MAX_PAYLOAD_BYTES = 256 * 1024 * 1024
"""The largest message body, in bytes: its reader holds it whole."""

KEPT = timedelta(minutes=10)
"""How long a body is kept that nobody drops: far longer than any request waits for its reply."""


def day_folder(moment: datetime) -> str:
    """Where bodies of that day are kept."""
    return f"{FOLDER}{moment.astimezone(UTC):%Y-%m-%d}/"


async def receive(app: App, request: web.Request) -> web.Response:
    """Store a body under its reference; what is large goes by way of the disk. Raises TooLarge and Unavailable."""
    return await take(app, request, f"{day_folder(datetime.now(UTC))}{_reference(app, request)}")


async def take(app: App, request: web.Request, key: str) -> web.Response:
    """Store a body under a key. Raises TooLarge and Unavailable."""
    with app.workspace.folder() as folder:
        body = Spooled(folder / "payload", most=MAX_PAYLOAD_BYTES)
        async for piece in request.content.iter_any():
            await body.add(piece)
        await body.flush()
        BYTES_IN.labels("payload").inc(body.size)
        await body.store(app.objects, key)
    return web.Response(status=204)


async def send(app: App, request: web.Request) -> web.StreamResponse:
    """Send the body behind a reference while it is read. Raises NotFound and Unavailable."""
    return await give(app, request, _keys(_reference(app, request)))


async def give(app: App, request: web.Request, keys: list[str]) -> web.StreamResponse:
    """Send the first body that there is under the keys. Raises NotFound and Unavailable."""
    answer = await _open(app, request.app[downloads.STORAGE], keys)
    async with answer:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = answer.content_length
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
            BYTES_OUT.labels("payload").inc(len(piece))
        await response.write_eof()
    return response


async def fetch(objects: ObjectStore, reference: UUID, path: Path) -> None:
    """Write the body behind a reference to a file. Raises NotFound and Unavailable."""
    today, yesterday = _keys(reference)
    try:
        await objects.get_file(today, path)
    except NotFound:
        await objects.get_file(yesterday, path)


async def _open(app: App, storage: aiohttp.ClientSession, keys: list[str]) -> aiohttp.ClientResponse:
    for key in keys:
        url = URL(await app.objects.url(key), encoded=True)
        try:
            answer = await storage.get(url)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("The object store is not available; try again shortly.") from error
        if answer.status == HTTPStatus.OK:
            return answer
        answer.close()
        if answer.status != HTTPStatus.NOT_FOUND:
            raise Unavailable("The object store did not send what was asked for.")
    raise NotFound("There is no such message body.")


async def remove(app: App, request: web.Request) -> web.Response:
    """Remove a body, if there is one."""
    await app.objects.remove(_keys(_reference(app, request)))
    return web.Response(status=204)


async def left_behind(objects: ObjectStore, now: datetime) -> list[str]:
    """The bodies that nobody dropped in time."""
    return [each.key for each in await objects.listing(FOLDER) if now - each.modified_at > KEPT]


def _keys(reference: UUID) -> list[str]:
    """Where a body may be: around midnight it was kept yesterday."""
    now = datetime.now(UTC)
    return [f"{day_folder(now - timedelta(days=age))}{reference}" for age in (0, 1)]


def _reference(app: App, request: web.Request) -> UUID:
    claims = ticketed.claims(request, key=app.internal_secret, purpose=payloads.TICKET_PURPOSE)
    return ticketed.matching_id(request, claims.get("payload"))
