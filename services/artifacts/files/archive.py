"""`POST /internal/file-archives/{id}`: a notebook and the files beside it as one zip, streamed while it is written.

The request brings the notebook and which files there are; the contents come from the object store, one after the other.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from services.artifacts import downloads, ticketed, zip_stream
from services.artifacts.downloads import STORAGE, Source
from services.artifacts.headers import disposition
from services.artifacts.metrics import BYTES_OUT
from services.artifacts.store import queries
from services.artifacts.zip_stream import Member, ZipStream
from shared.contracts.transfers import FILE_ARCHIVE, FileArchive, FileArchiveBody
from shared.errors import AtelierError, NotFound

if TYPE_CHECKING:
    from services.artifacts.app import App


async def send_file_archive(app: App, request: web.Request) -> web.StreamResponse:
    """Send the archive. A store that fails in the middle breaks the connection off, so that nobody takes it for
    complete."""
    wanted = ticketed.claimed(request, FileArchive, key=app.internal_secret, purpose=FILE_ARCHIVE)
    ticketed.matching_id(request, wanted.notebook_id)
    body = FileArchiveBody.model_validate_json(await request.read())
    sources = await _sources(app, wanted, body)
    notebook = body.notebook.encode()
    first = Member(name=body.notebook_path, size=len(notebook), crc32=zlib.crc32(notebook))
    members = [Member(name=file.path, size=file.size_bytes, crc32=None) for file in body.files]
    response = web.StreamResponse(headers={"Content-Disposition": disposition("notebook.zip")})
    response.content_type = "application/zip"
    response.content_length = zip_stream.length_of([first, *members])
    archive = ZipStream(datetime.now(UTC))
    await response.prepare(request)
    try:
        await _write(response, archive.begin(first) + notebook + archive.end())
        for file, member in zip(body.files, members, strict=True):
            await _write(response, archive.begin(member))
            checksum = 0
            async with downloads.pieces(app, request.app[STORAGE], sources[file.sha256]) as stream:
                async for piece in stream:
                    checksum = zlib.crc32(piece, checksum)
                    await _write(response, piece)
            await _write(response, archive.end(checksum))
        await _write(response, archive.close())
    except AtelierError as error:
        raise aiohttp.ClientPayloadError(f"the archive cannot be written on: {error.detail}") from error
    await response.write_eof()
    return response


async def _sources(app: App, wanted: FileArchive, body: FileArchiveBody) -> dict[str, Source]:
    """Return where each content is. Raises NotFound when one is gone, or is not the notebook's."""
    owner: tuple[Any, ...] = (wanted.scope.tenant_id, wanted.scope.project_id, wanted.notebook_id)
    async with app.database.connection() as connection:
        rows = await connection.fetch(queries.locate_contents, *owner, [file.sha256 for file in body.files])
    found = {row["sha256"]: Source(object_key=row["object_key"], inline=None, size=row["size_bytes"]) for row in rows}
    for file in body.files:
        if file.sha256 not in found or found[file.sha256].size != file.size_bytes:
            raise NotFound(f"The content of {file.path} is gone.")
    return found


async def _write(response: web.StreamResponse, part: bytes) -> None:
    await response.write(part)
    BYTES_OUT.labels("archive").inc(len(part))
