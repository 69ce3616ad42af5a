"""Contents of notebooks' files in and out: `/internal/files/{sha256}`. What comes in must have that hash."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

from services.artifacts import downloads, incoming, model, ticketed, versions
from services.artifacts.files import commands
from services.artifacts.metrics import BYTES_IN
from services.artifacts.store import queries
from shared import disk
from shared.contracts.base import Nothing
from shared.contracts.transfers import FILE_DOWNLOAD, FILE_UPLOAD, FileDownload, FileUpload
from shared.errors import Invalid, NotFound, TooLarge, Unavailable
from shared.file_limits import MAX_FILE_BYTES
from shared.replies import Reply

if TYPE_CHECKING:
    from services.artifacts.app import App

IN_MEMORY_BYTES = 1024 * 1024
"""A content up to this size does not go by way of the disk, in bytes."""


async def receive_content(app: App, request: web.Request) -> web.Response:
    """Keep the body, for the notebook in the ticket; answered with a Reply. Nothing is kept that is not whole."""
    upload = ticketed.claimed(request, FileUpload, key=app.internal_secret, purpose=FILE_UPLOAD)
    expected = request.match_info["sha256"]
    with app.workspace.folder() as folder:
        file = _Arriving(folder / "content")
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


async def _keep(app: App, upload: FileUpload, sha256: str, file: _Arriving) -> None:
    """Store the bytes as an object, then make it the project's content, unless another upload was first."""
    scope, key = upload.scope, model.file_key(upload.scope, uuid4())
    await versions.announce(app, key)
    try:
        if file.path is None:
            await app.objects.put(key, bytes(file.waiting), model.BINARY_TYPE)
        else:
            await app.objects.put_file(key, file.path, model.BINARY_TYPE)
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


class _Arriving:
    """The bytes that came so far: in memory as long as they are few, else in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self.path: Path | None = None
        self.waiting = bytearray()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The hash of what came, in hexadecimal."""
        return self._hash.hexdigest()

    async def add(self, piece: bytes) -> None:
        """Take in what comes next. Raises TooLarge, and Unavailable where the disk is full."""
        self.size += len(piece)
        if self.size > MAX_FILE_BYTES:
            raise TooLarge(f"A file has at most {MAX_FILE_BYTES:,} bytes.")
        self._hash.update(piece)
        self.waiting += piece
        if len(self.waiting) > IN_MEMORY_BYTES:
            await self._write()

    async def flush(self) -> None:
        """Write down the rest, where there is a file."""
        if self.path is not None:
            await self._write()

    async def _write(self) -> None:
        self.path = self._path
        batch, self.waiting = bytes(self.waiting), bytearray()
        await disk.in_thread(_append, self._path, batch)


def _append(path: Path, batch: bytes) -> None:
    with path.open("ab") as file:
        file.write(batch)
