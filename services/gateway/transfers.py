"""Bulk between clients and the artifacts service: bytes pass through in pieces and never gather here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin
from uuid import UUID, uuid4

import aiohttp
import orjson
import structlog
from aiohttp import web

from shared import payloads, replies, reply_size, telemetry, tickets
from shared.contracts import transfers
from shared.contracts.base import Wire
from shared.contracts.datasets import Dataset, UploadTicket
from shared.contracts.files import FileUploadTicket
from shared.contracts.notebooks import IpynbFile
from shared.errors import AtelierError, OutcomeUnknown, RangeNotSatisfiable, Unauthorized, Unavailable

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 2.0
"""How long a connection to artifacts may take, in seconds."""

FIRST_BYTE_TIMEOUT_S = 20.0
"""How long artifacts may take to begin its answer to a download, in seconds."""

SILENCE_S = 60.0
"""A transfer that moves nothing for so long is given up, in seconds."""

UPLOAD_ANSWER_S = 600.0
"""How long the conversion of an upload may go on after its last byte, in seconds."""

PIECE = 256 * 1024
"""How much is read at a time, in bytes."""

ANSWER_LIMIT = 4 * 1024 * 1024
"""No reply of artifacts to a transfer is larger, in bytes."""

_ASKED_ALONG = ("Range", "If-Range", "If-None-Match")
_ANSWERED_ALONG = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified")

SAFETY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, max-age=0, must-revalidate",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""What a notebook produced is hostile until proven otherwise: a browser must save it, not run it."""

IPYNB = "application/x-ipynb+json"
"""Media type of notebook documents."""

TEXTS = {
    ".py": "text/x-python; charset=utf-8",
    ".R": "text/x-r-source; charset=utf-8",
    ".scala": "text/x-scala; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".Rmd": "text/markdown; charset=utf-8; variant=Rmd",
}
"""Content types of notebooks as text, by the ending of the file's name."""

TEXT_TYPES = tuple(dict.fromkeys(content_type.partition(";")[0] for content_type in TEXTS.values()))
"""Their media types."""

_AWAY = "The artifacts service is not available; try again shortly."


class Transfers:
    """The gateway's HTTP client towards artifacts."""

    def __init__(self, base_url: str, *, key: str) -> None:
        self._base_url = base_url.rstrip("/") + "/"
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the HTTP session."""
        connector = aiohttp.TCPConnector(limit=0)  # the number of clients is the bound
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_S)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, read_bufsize=PIECE
        )

    async def close(self) -> None:
        """Close the HTTP session."""
        if self._session is not None:
            await self._session.close()

    async def download(
        self,
        request: web.Request,
        *,
        path: str,
        purpose: str,
        claims: Wire,
        file_name: str,
        content_type: str | None = None,
        policy: str | None = None,
        inline: bool = False,
        body: bytes | None = None,
    ) -> web.StreamResponse:
        """Stream what artifacts has at `path`, or makes of `body` there, to the client, as an attachment unless
        `inline`, under the content policy of files unless `policy` is another. Raises what artifacts answers."""
        headers = self._headers(purpose, claims)
        headers |= {name: request.headers[name] for name in _ASKED_ALONG if name in request.headers}
        try:
            async with asyncio.timeout(FIRST_BYTE_TIMEOUT_S):
                method, data = ("GET", None) if body is None else ("POST", BytesIO(body))
                answer = await self._open_session.request(
                    method, urljoin(self._base_url, path), headers=headers, data=data
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(_AWAY) from error
        async with answer:
            if answer.status == 416:
                raise RangeNotSatisfiable(
                    "The Range header asks for bytes that are not there; Content-Range has the size.",
                    extra={"contentRange": answer.headers.get("Content-Range", "bytes */*")},
                )
            if answer.status not in (200, 206, 304):
                raise await _error_of(answer)
            response = web.StreamResponse(status=answer.status, headers=SAFETY_HEADERS)
            for name in _ANSWERED_ALONG:
                if name in answer.headers:
                    response.headers[name] = answer.headers[name]
            if content_type is not None:
                response.headers["Content-Type"] = content_type
            if policy is not None:
                response.headers["Content-Security-Policy"] = policy
            response.headers["Content-Disposition"] = disposition(file_name, inline=inline)
            await response.prepare(request)
            if request.method != "HEAD":
                while piece := await _next_piece(answer):
                    async with asyncio.timeout(SILENCE_S):
                        await response.write(piece)
                await response.write_eof()
            return response

    async def adopt(self, where: UploadTicket) -> Dataset:
        """Have artifacts make a dataset of a result that it stores; else as `upload`."""

        async def nothing() -> AsyncIterator[bytes]:
            return
            yield b""

        return await self.upload(where, nothing())

    async def upload(self, where: UploadTicket, pieces: AsyncIterator[bytes]) -> Dataset:
        """Stream a file to artifacts; returns when it is stored and ready. Raises what artifacts answers, Unavailable
        when it could not be reached, OutcomeUnknown when it went away with the whole file in hand."""
        sent = _Sent()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=UPLOAD_ANSWER_S)
        headers = {"Authorization": f"Ticket {where.ticket}", **_trace()}
        try:
            async with self._open_session.put(
                urljoin(self._base_url, where.url), data=sent.watch(pieces), headers=headers, timeout=timeout
            ) as answer:
                reply = await _reply(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("upload to artifacts failed", reason=type(error).__name__, complete=sent.complete)
            if sent.complete:
                raise OutcomeUnknown(
                    "The artifacts service went away while it stored the dataset. Look at the list of datasets, or "
                    "repeat the upload with the same Idempotency-Key."
                ) from error
            raise Unavailable(_AWAY) from error
        reply.raise_error()
        return Dataset.model_validate(reply.data)

    async def send_content(self, where: FileUploadTicket, sha256: str, size: int, pieces: AsyncIterator[bytes]) -> None:
        """Stream a content of a notebook's file to artifacts. Raises what artifacts answers, and Unavailable when it
        went away, even with all bytes in hand: what nothing refers to has no effect."""
        headers = {"Authorization": f"Ticket {where.ticket}", "Content-Length": str(size), **_trace()}
        try:
            async with self._open_session.put(
                urljoin(self._base_url, f"{where.url}/{sha256}"), data=pieces, headers=headers
            ) as answer:
                reply = await _reply(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("upload of a file to artifacts failed", reason=type(error).__name__)
            raise Unavailable(_AWAY) from error
        try:
            reply.raise_error()
        except Unauthorized as error:  # the ticket's: so slow that it is over, and no fault of the client's credential
            raise Unavailable(_AWAY) from error

    @asynccontextmanager
    async def waiting(self, size: int, pieces: AsyncIterator[bytes]) -> AsyncIterator[UUID]:
        """Have bytes wait at artifacts within the context, for a command that names them by this reference. Raises
        Unavailable."""
        reference = uuid4()
        address = urljoin(self._base_url, f"internal/payloads/{reference}")
        ticket = tickets.sign(
            {"payload": str(reference)},
            key=self._key,
            purpose=payloads.TICKET_PURPOSE,
            life_s=transfers.TICKET_LIFE_S,
        )
        headers = {"Authorization": f"Ticket {ticket}", **_trace()}
        try:
            async with self._open_session.put(
                address, data=pieces, headers={**headers, "Content-Length": str(size)}
            ) as answer:
                if answer.status != HTTPStatus.NO_CONTENT:
                    raise await _error_of(answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(_AWAY) from error
        try:
            yield reference
        finally:
            try:
                async with self._open_session.delete(address, headers=headers):
                    pass
            except (aiohttp.ClientError, TimeoutError) as error:
                log.info("bytes at artifacts are left to the sweep", reason=type(error).__name__)

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Unavailable(_AWAY)
        return self._session

    def _headers(self, purpose: str, claims: Wire) -> dict[str, str]:
        ticket = tickets.sign(
            claims.model_dump(mode="json", by_alias=True),
            key=self._key,
            purpose=purpose,
            life_s=transfers.TICKET_LIFE_S,
        )
        return {"Authorization": f"Ticket {ticket}", **_trace()}


class _Sent:
    """Whether a body was handed over to its end."""

    def __init__(self) -> None:
        self.complete = False

    async def watch(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
        self.complete = True


def attachment(file_name: str) -> str:
    """A Content-Disposition that makes a browser save the body as `file_name` (RFC 6266)."""
    return disposition(file_name)


def disposition(file_name: str, *, inline: bool = False) -> str:
    """The same, or one that lets it show the body."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in file_name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def _trace() -> dict[str, str]:
    traceparent = telemetry.traceparent()
    return {"traceparent": traceparent} if traceparent else {}


async def _next_piece(answer: aiohttp.ClientResponse) -> bytes:
    """What comes next of a download; empty at its end. Raises TimeoutError when nothing comes for too long."""
    async with asyncio.timeout(SILENCE_S):
        return await answer.content.readany()


async def _reply(answer: aiohttp.ClientResponse) -> replies.Reply:
    body = await answer.content.read(ANSWER_LIMIT)
    try:
        return replies.decode(body)
    except ValueError as error:
        log.error("artifacts answered something else than a reply", status=answer.status)
        raise Unavailable(_AWAY) from error


async def _error_of(answer: aiohttp.ClientResponse) -> AtelierError:
    reply: Any = await _reply(answer)
    try:
        reply.raise_error()
    except AtelierError as error:
        return error
    return Unavailable(_AWAY)


async def notebook_response(file: IpynbFile) -> web.Response:
    """A notebook as a file to save."""
    media_type = IPYNB if file.text is None else TEXTS[PurePosixPath(file.file_name).suffix]
    headers = {
        **SAFETY_HEADERS,
        "Content-Type": media_type,
        "Content-Disposition": attachment(file.file_name),
    }
    if file.text is not None:
        return web.Response(body=file.text.encode(), headers=headers)
    body = await reply_size.off_loop(lambda: orjson.dumps(file.content, option=orjson.OPT_INDENT_2))
    return web.Response(body=body, headers=headers)
