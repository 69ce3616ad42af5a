"""`GET /internal/executions/{id}/archive`: all of a run's artifacts as one zip, streamed while it is written."""

from __future__ import annotations

import asyncio
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from aiohttp import web

from services.artifacts import downloads, store, ticketed
from services.artifacts.archive_names import archive_names
from services.artifacts.downloads import STORAGE, Source
from services.artifacts.headers import disposition
from services.artifacts.metrics import BYTES_OUT
from services.artifacts.reading_ahead import SMALL_BYTES, ReadingAhead, is_small
from services.artifacts.store import queries
from shared.contracts.base import Caller, rfc3339
from shared.contracts.results import ArtifactEntry, ListArtifacts
from shared.contracts.transfers import ARCHIVE_DOWNLOAD, ArchiveDownload
from shared.errors import NotFound

if TYPE_CHECKING:
    from services.artifacts.app import App

MANIFEST = "manifest.json"
"""The first file of the archive: what the others are, with their sizes and hashes."""

PACKED_ALREADY = frozenset(
    {"application/vnd.apache.parquet", "application/zip", "application/gzip", "image/png", "image/jpeg", "image/gif"}
)
"""Media types that deflating makes no smaller."""

FAST = 1
"""Deflate level."""

DEFLATED_BYTES = SMALL_BYTES
"""Larger files are not deflated: the archive should stream at the speed of the disk, and deflating is slower."""

SMALL_AT_ONCE = 100
"""Artifacts whose bytes are read from the database at once; each has 32 KiB at most."""

PASS_ON_BYTES = 256 * 1024
"""Small files are gathered up to this size before they are written to the reader."""

UNLISTED = {"object_key", "inline", "public_url", "content", "content_truncated"}
"""What the manifest leaves out of each artifact."""


class _Sink:
    """Where the zip writer puts its bytes; it cannot seek, so sizes follow each file (ZIP data descriptors)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._parts.append(data)
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing to do: what is written is there."""

    def __len__(self) -> int:
        return self._size

    def drain(self) -> bytes:
        """What came since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return data


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
    response = web.StreamResponse(headers={"Content-Disposition": disposition(f"execution-{wanted.execution_id}.zip")})
    response.content_type = "application/zip"
    await response.prepare(request)
    names = archive_names([entry.file_name for entry in entries], taken={MANIFEST})
    sink = _Sink()
    ahead = ReadingAhead(app, request.app[STORAGE], entries)
    try:
        with zipfile.ZipFile(sink, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=FAST) as archive:  # type: ignore[call-overload]
            await asyncio.to_thread(_write_manifest, archive, wanted, entries, names)
            await _pass_on(response, sink)
            small: dict[UUID, bytes] = {}
            for number, (entry, name) in enumerate(zip(entries, names, strict=True)):
                info = _info(name, packed=_is_packed(entry))
                if entry.object_key is None:
                    if entry.artifact_id not in small:
                        small = await _small_files(app, wanted, entries[number : number + SMALL_AT_ONCE])
                    archive.writestr(info, small[entry.artifact_id])
                elif is_small(entry):
                    await _write(archive, info, await ahead.next())
                else:
                    await _add(app, request, archive, sink, response, entry, info)
                if len(sink) > PASS_ON_BYTES:
                    await _pass_on(response, sink)
    finally:
        await ahead.close()
    await _pass_on(response, sink)
    await response.write_eof()
    return response


async def _small_files(app: App, wanted: ArchiveDownload, entries: list[ArtifactEntry]) -> dict[UUID, bytes]:
    """The bytes of those of the artifacts that are kept in their rows, with one look at the database."""
    ids = [entry.artifact_id for entry in entries if entry.object_key is None]
    async with app.database.connection() as connection:
        rows = await connection.fetch(queries.bytes_of_artifacts, wanted.execution_id, wanted.epoch, ids)
    found = {row["artifact_id"]: row["inline"] for row in rows}
    if missing := set(ids) - set(found):
        raise NotFound(f"{len(missing)} artifacts have been removed meanwhile.")
    return found


def _is_packed(entry: ArtifactEntry) -> bool:
    return entry.content_type in PACKED_ALREADY or entry.size_bytes > DEFLATED_BYTES


async def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, body: bytes) -> None:
    if info.compress_type == zipfile.ZIP_DEFLATED:
        await asyncio.to_thread(archive.writestr, info, body)
    else:
        archive.writestr(info, body)


async def _add(
    app: App,
    request: web.Request,
    archive: zipfile.ZipFile,
    sink: _Sink,
    response: web.StreamResponse,
    entry: ArtifactEntry,
    info: zipfile.ZipInfo,
) -> None:
    """A large file, piece by piece; it is not deflated, so that a piece costs no more than its checksum."""
    source = Source(object_key=entry.object_key, inline=None, size=entry.size_bytes)
    async with downloads.pieces(app, request.app[STORAGE], source) as stream:
        with archive.open(info, "w", force_zip64=True) as file:
            async for piece in stream:
                file.write(piece)
                await _pass_on(response, sink)


async def _pass_on(response: web.StreamResponse, sink: _Sink) -> None:
    data = sink.drain()
    if data:
        await response.write(data)
        BYTES_OUT.labels("archive").inc(len(data))


def _info(name: str, *, packed: bool = False) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=datetime.now(UTC).timetuple()[:6])
    info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16  # a plain file, readable by everybody
    return info


def _write_manifest(
    archive: zipfile.ZipFile, wanted: ArchiveDownload, entries: list[ArtifactEntry], names: list[str]
) -> None:
    body = orjson.dumps(_manifest(wanted, entries, names), option=orjson.OPT_INDENT_2)
    archive.writestr(_info(MANIFEST), body)


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
