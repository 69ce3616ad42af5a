"""Contents of notebooks' files in and out: `/internal/files/{sha256}`. What comes in must have that hash."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

from services.artifacts import downloads, incoming, model, ticketed, versions
from services.artifacts.files import commands
from services.artifacts.metrics import BYTES_IN
from services.artifacts.store import queries
from shared.contracts.base import Nothing
from shared.contracts.transfers import FILE_DOWNLOAD, FILE_UPLOAD, FileDownload, FileUpload
from shared.errors import Invalid, NotFound, Unavailable
from shared.file_limits import MAX_FILE_BYTES
from shared.replies import Reply

if TYPE_CHECKING:
    from services.artifacts.app import App


async def receive_content(app: App, request: web.Request) -> web.Response:
    """Keep the body, for the notebook in the ticket; answered with a Reply. Nothing is kept that is not whole."""
    upload = ticketed.claimed(request, FileUpload, key=app.internal_secret, purpose=FILE_UPLOAD)
    expected = request.match_info["sha256"]
    with app.workspace.folder() as folder:
        file = incoming.Spooled(folder / "content", most=MAX_FILE_BYTES)
        async for piece in incoming.pieces_of(request.content, silence_s=app.settings.upload_silence_s):
            await file.add(piece)
        await file.flush()
        if file.sha256 != expected:
            raise Invalid("The bytes that arrived are not those that were announced.")
        BYTES_IN.labels("file").inc(file.size)
        await _keep(app, upload, expected, file)
    return web.Response(body=Reply.of(Nothing()).encode(), content_type="application/json")


async def send_content(app: App, request: web.Request) -> web.StreamResponse:
    """Send a content that the notebook in the ticket needs, with ranges."""
    wanted = ticketed.claimed(request, FileDownload, key=app.internal_secret, purpose=FILE_DOWNLOAD)
    scope, sha256 = wanted.scope, request.match_info["sha256"]
    if sha256 != wanted.sha256:
        raise NotFound("The ticket is for something else.")
    async with app.database.connection() as connection:
        row = await connection.fetchrow(
            queries.locate_contents, scope.tenant_id, scope.project_id, wanted.notebook_id, [sha256]
        )
    if row is None:
        raise NotFound("The file is gone.")
    source = downloads.Source(object_key=row["object_key"], inline=None, size=row["size_bytes"])
    return await downloads.send(app, request, source, downloads.headers(wanted.file_name, wanted.media_type, sha256))


async def _keep(app: App, upload: FileUpload, sha256: str, file: incoming.Spooled) -> None:
    """Store the bytes as an object, then make it the project's content, unless another upload was first."""
    scope, key = upload.scope, model.file_key(upload.scope, uuid4())
    await versions.announce(app, key)
    try:
        await file.store(app.objects, key)
        async with app.database.transaction() as tx:
            await commands.begin(tx, scope, upload.notebook_id)
            if await tx.value(queries.seal_object, key) is None:
                raise Unavailable("The upload took too long to be stored; try again.")
            kept = await tx.value(queries.insert_content, scope.tenant_id, scope.project_id, sha256, file.size, key)
            if kept is None:
                await tx.execute(queries.request_removal, key, 0.0)
            await commands.reserve(tx, scope, upload.notebook_id, [sha256])
    except BaseException:
        # Where the commit was in doubt and went through, the row is gone already, and nothing is abandoned.
        await asyncio.shield(versions.abandon(app, key))
        raise
