"""Bytes out: artifacts with ranges and validators, datasets as Parquet or CSV, streamed from storage while read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import aiohttp
import asyncpg
import pyarrow as pa
from aiohttp import web
from yarl import URL

from services.artifacts import ranges, store, ticketed
from services.artifacts.headers import disposition
from services.artifacts.metrics import BYTES_OUT
from services.artifacts.model import PARQUET_TYPE
from services.artifacts.ranges import Span
from services.artifacts.remote_file import RemoteFile
from services.artifacts.store import queries
from shared.contracts.results import ArtifactEntry
from shared.contracts.transfers import ARTIFACT_DOWNLOAD, DATASET_DOWNLOAD, ArtifactDownload, DatasetDownload
from shared.errors import AtelierError, NotFound, Unavailable
from shared.tabular.csv_out import csv_chunks

if TYPE_CHECKING:
    from services.artifacts.app import App

STORAGE = web.AppKey("storage", aiohttp.ClientSession)
"""The session that reads objects on presigned URLs."""

PIECE_BYTES = 256 * 1024
"""How much is passed on at once, about, in bytes."""

CSV_TYPE = "text/csv"

CSV_AHEAD_BYTES = 2 * 1024 * 1024
"""Fetched at once of a table that is sent as CSV, in bytes: some row groups of most tables."""

TABLE_SUFFIXES = (".csv.gz", ".xes.gz", ".parquet", ".csv", ".xes")
"""Extensions of the files that become datasets, longest first."""


async def send_artifact(app: App, request: web.Request) -> web.StreamResponse:
    """The bytes of an artifact; `?format=csv` turns a Parquet artifact into CSV (streamed, without ranges)."""
    wanted = ticketed.claimed(request, ArtifactDownload, key=app.internal_secret, purpose=ARTIFACT_DOWNLOAD)
    ticketed.matching_id(request, wanted.artifact_id)
    async with app.database.connection() as connection:
        entry = await store.find_artifact(
            connection, wanted.scope, wanted.execution_id, wanted.epoch, wanted.artifact_id
        )
        if entry is None:
            raise NotFound("There is no such artifact.")
        source = await source_of(connection, wanted.execution_id, wanted.epoch, entry)
    if request.query.get("format") == "csv" and entry.content_type == PARQUET_TYPE and entry.object_key:
        return await _send_as_csv(app, request, source, _renamed(entry.file_name, ".csv"))
    return await send(app, request, source, headers(entry.file_name, entry.content_type, entry.sha256))


async def send_dataset(app: App, request: web.Request) -> web.StreamResponse:
    """A version of a dataset as Parquet (with ranges) or CSV."""
    wanted = ticketed.claimed(request, DatasetDownload, key=app.internal_secret, purpose=DATASET_DOWNLOAD)
    ticketed.matching_id(request, wanted.dataset_id)
    async with app.database.connection() as connection:
        found = await store.find_dataset(connection, wanted.scope, wanted.dataset_id, wanted.version)
    if found is None:
        raise NotFound("There is no such dataset or version.")
    dataset, object_key = found
    source = Source(object_key=object_key, inline=None, size=dataset.size_bytes)
    if wanted.format == "csv":
        return await _send_as_csv(app, request, source, _renamed(dataset.dataset_name, ".csv"))
    described = headers(_renamed(dataset.dataset_name, ".parquet"), PARQUET_TYPE, dataset.sha256)
    return await send(app, request, source, described)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where bytes come from: a row (`inline`), an object, or, from `offset` on, part of one."""

    object_key: str | None
    inline: bytes | None
    size: int
    offset: int | None = None

    @classmethod
    def of(cls, entry: ArtifactEntry, *, inline: bytes | None = None) -> Source:
        """Where an artifact's bytes are; `inline` are those of its row."""
        if entry.pack is not None:
            return cls(object_key=entry.pack.object_key, inline=None, size=entry.size_bytes, offset=entry.pack.offset)
        return cls(object_key=entry.object_key, inline=inline, size=entry.size_bytes)

    def within(self, span: Span | None) -> Span | None:
        """The part of the object that holds a part of these bytes, or all of them; None for the whole object."""
        if self.offset is None:
            return span
        start, end = (span.start, span.end) if span else (0, self.size)
        return Span(start=self.offset + start, end=self.offset + end)


async def source_of(connection: asyncpg.Connection, execution_id: UUID, epoch: int, entry: ArtifactEntry) -> Source:
    """Where the bytes of an artifact are; reads those that are kept in its row."""
    inline = None
    if entry.object_key is None and entry.pack is None:
        inline = await connection.fetchval(queries.artifact_bytes, execution_id, epoch, entry.artifact_id)
    return Source.of(entry, inline=inline)


async def send(app: App, request: web.Request, source: Source, described: dict[str, str]) -> web.StreamResponse:
    """The whole or the range that is asked for (RFC 9110, sections 13 and 14)."""
    etag = described["ETag"]
    if ranges.matches(request.headers.get("If-None-Match"), etag):
        return web.Response(status=304, headers=described)
    span: Span | None = None
    if ranges.matches(request.headers.get("If-Range"), etag, absent=True):
        try:
            span = ranges.parse(request.headers.get("Range"), source.size)
        except ranges.Unsatisfiable:
            return web.Response(status=416, headers={**described, "Content-Range": f"bytes */{source.size}"})
    response = web.StreamResponse(status=206 if span else 200, headers=described)
    if span is not None:
        response.headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{source.size}"
    response.content_length = span.length if span else source.size
    async with pieces(app, request.app[STORAGE], source, span) as stream:
        await response.prepare(request)
        async for piece in stream:
            await response.write(piece)
            BYTES_OUT.labels("object").inc(len(piece))
    await response.write_eof()
    return response


@asynccontextmanager
async def pieces(
    app: App, storage: aiohttp.ClientSession, source: Source, span: Span | None = None
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The bytes of a source, piece by piece. Raises NotFound or Unavailable before the first piece; a store that fails
    in the middle raises aiohttp's ClientError, and the connection to the reader is then broken off."""
    if source.inline is not None:
        yield _one(source.inline[span.start : span.end] if span else source.inline)
        return
    if source.object_key is None:
        raise NotFound("The artifact has no bytes.")
    wanted = source.within(span)
    asked = {"Range": f"bytes={wanted.start}-{wanted.end - 1}"} if wanted else {}
    url = URL(await app.objects.url(source.object_key), encoded=True)
    try:
        answer = await storage.get(url, headers=asked)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable("The object store is not available; try again shortly.") from error
    async with answer:
        if answer.status == 404:
            raise NotFound("The object is gone.")
        if not _is_as_asked(answer, source, wanted):
            raise Unavailable("The object store did not send what was asked for.")
        yield answer.content.iter_any()  # as they come: pieces of one size would have to be cut and joined


def _is_as_asked(answer: aiohttp.ClientResponse, source: Source, span: Span | None) -> bool:
    """Whether the store sends this part of the object, or all. rclone answers a range with 200 instead of 206."""
    if answer.status not in (200, 206):
        return False
    if span is None:
        return answer.content_length == source.size
    begins = f"bytes {span.start}-"
    return answer.content_length == span.length and answer.headers.get("Content-Range", "").startswith(begins)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _send_as_csv(app: App, request: web.Request, source: Source, file_name: str) -> web.StreamResponse:
    """A stored Parquet object as CSV, read by ranges: the first rows go out before the last are read. Raises NotFound
    or Unavailable before the first row; later, the connection to the reader is broken off."""
    if source.object_key is None:
        raise NotFound("The artifact has no table in the object store.")
    remote = RemoteFile(app.objects, source.object_key, source.size, ahead=CSV_AHEAD_BYTES)
    chunks = csv_chunks(pa.PythonFile(cast(Any, remote), mode="r"))
    chunk = await _next(app, chunks)
    response = web.StreamResponse(headers={"Content-Disposition": disposition(file_name)})
    response.content_type, response.charset = CSV_TYPE, "utf-8"
    await response.prepare(request)
    while chunk:
        await response.write(chunk)
        BYTES_OUT.labels("csv").inc(len(chunk))
        try:
            chunk = await _next(app, chunks)
        except AtelierError as error:
            raise aiohttp.ClientPayloadError(f"the object cannot be read on: {error.detail}") from error
    await response.write_eof()
    return response


async def _next(app: App, chunks: Iterator[bytes]) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(app.readers, next, chunks, b"")


def headers(file_name: str, content_type: str, sha256: str) -> dict[str, str]:
    """What is said of bytes that never change."""
    return {
        "Content-Type": content_type,
        "Content-Disposition": disposition(file_name),
        "ETag": f'"{sha256}"',
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }


def _renamed(name: str, suffix: str) -> str:
    """The name of a table with another extension in place of its own, if it has a table's."""
    for known in TABLE_SUFFIXES:
        if name.lower().endswith(known):
            return name[: -len(known)] + suffix
    return name + suffix
