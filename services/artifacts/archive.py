"""`GET /internal/executions/{id}/archive`: all of a run's artifacts as one zip, streamed while it is written.

Files are stored, not deflated: the archive comes as fast as its bytes can be read, and deflating takes many times as
long as all the rest.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from aiohttp import web

from services.artifacts import downloads, store, ticketed, zip_stream
from services.artifacts.archive_names import archive_names
from services.artifacts.downloads import STORAGE, Source
from services.artifacts.headers import disposition
from services.artifacts.metrics import BYTES_OUT
from services.artifacts.reading_ahead import Portion, ReadingAhead, is_small, portions
from services.artifacts.zip_stream import Member, ZipStream
from shared.contracts.base import Caller, rfc3339
from shared.contracts.results import ArtifactEntry, ListArtifacts
from shared.contracts.transfers import ARCHIVE_DOWNLOAD, ArchiveDownload
from shared.errors import AtelierError

if TYPE_CHECKING:
    from services.artifacts.app import App

MANIFEST = "manifest.json"
"""The first file of the archive: what the others are, with their sizes and hashes."""

PASS_ON_BYTES = 256 * 1024
"""Small files are gathered up to this size before they are written to the reader."""

UNLISTED = {"object_key", "pack", "crc32", "inline", "public_url", "content", "content_truncated"}
"""What the manifest leaves out of each artifact."""


class _Reader:
    """Who the archive goes to; small parts are gathered for it."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._parts: list[bytes | memoryview] = []
        self._size = 0

    async def give(self, part: bytes | memoryview) -> None:
        """Pass on some bytes, now or with the next."""
        self._parts.append(part)
        self._size += len(part)
        if self._size >= PASS_ON_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Pass on what is left."""
        parts, size = self._parts, self._size
        self._parts, self._size = [], 0
        if size:
            await self._response.write(b"".join(parts))
            BYTES_OUT.labels("archive").inc(size)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is known of the archive before its first byte."""

    manifest: Member
    body: bytes
    """The manifest's own bytes."""
    members: list[Member]
    """The files of the artifacts, in their order."""
    portions: list[Portion]
    length: int
    """Of the archive, in bytes."""


async def send_archive(app: App, request: web.Request) -> web.StreamResponse:
    """The archive. A store that fails in the middle breaks the connection off, so that nobody takes it for complete."""
    wanted = ticketed.claimed(request, ArchiveDownload, key=app.internal_secret, purpose=ARCHIVE_DOWNLOAD)
    ticketed.matching_id(request, wanted.execution_id)
    async with app.database.connection() as connection:
        listed = await store.list_artifacts(
            connection,
            ListArtifacts(
                scope=wanted.scope,
                caller=Caller(subject="archive"),
                execution_id=wanted.execution_id,
                epoch=wanted.epoch,
                output_type=wanted.output_type,
                cell_id=wanted.cell_id,
                with_content=False,
            ),
        )
    entries = listed.artifacts
    plan = await asyncio.to_thread(_plan, wanted, entries)
    response = web.StreamResponse(headers={"Content-Disposition": disposition(f"execution-{wanted.execution_id}.zip")})
    response.content_type, response.content_length = "application/zip", plan.length
    await response.prepare(request)
    reader, archive = _Reader(response), ZipStream(datetime.now(UTC))
    ahead = ReadingAhead(app, request.app[STORAGE], wanted, plan.portions)
    try:
        await reader.give(archive.begin(plan.manifest) + plan.body + archive.end())
        for entry, member in zip(entries, plan.members, strict=True):
            await reader.give(archive.begin(member))
            if is_small(entry):
                body = await ahead.take(entry)
                await reader.give(body)
                checksum = zlib.crc32(body) if member.crc32 is None else None
            else:
                checksum = await _give_large(app, request, reader, entry)
            await reader.give(archive.end(checksum))
        await reader.give(archive.close())
    except AtelierError as error:
        raise aiohttp.ClientPayloadError(f"the archive cannot be written on: {error.detail}") from error
    finally:
        await ahead.close()
    await reader.flush()
    await response.write_eof()
    return response


async def _give_large(app: App, request: web.Request, reader: _Reader, entry: ArtifactEntry) -> int | None:
    """Pass on a large file, piece by piece; returns its checksum where that is not known yet."""
    await reader.flush()
    checksum = 0
    async with downloads.pieces(app, request.app[STORAGE], Source.of(entry)) as stream:
        async for piece in stream:
            if entry.crc32 is None:
                checksum = zlib.crc32(piece, checksum)
            await reader.give(piece)
    return checksum if entry.crc32 is None else None


def _plan(wanted: ArchiveDownload, entries: list[ArtifactEntry]) -> _Plan:
    names = archive_names([entry.file_name for entry in entries], taken={MANIFEST})
    body = orjson.dumps(_manifest(wanted, entries, names), option=orjson.OPT_INDENT_2)
    manifest = Member(name=MANIFEST, size=len(body), crc32=zlib.crc32(body))
    members = [
        Member(name=name, size=entry.size_bytes, crc32=entry.crc32) for entry, name in zip(entries, names, strict=True)
    ]
    return _Plan(
        manifest=manifest,
        body=body,
        members=members,
        portions=portions(entries),
        length=zip_stream.length_of([manifest, *members]),
    )


def _manifest(wanted: ArchiveDownload, entries: list[ArtifactEntry], names: list[str]) -> dict[str, Any]:
    return {
        "executionId": str(wanted.execution_id),
        "created": rfc3339(datetime.now(UTC)),
        "outputType": wanted.output_type,
        "cellId": wanted.cell_id,
        "artifacts": [
            {
                "path": name,
                **entry.model_dump(
                    mode="json",
                    by_alias=True,
                    exclude=UNLISTED,
                ),
            }
            for entry, name in zip(entries, names, strict=True)
        ],
    }
