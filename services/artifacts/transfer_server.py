"""The internal HTTP address (shared.contracts.transfers): bytes in and out, each with a signed ticket for just that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import aiohttp
import structlog
from aiohttp import web
from opentelemetry.trace import SpanKind

from services.artifacts import archive, claim_checks, downloads, kept_replies, uploads
from services.artifacts.files import archive as file_archive
from services.artifacts.files import transfers as file_transfers
from services.artifacts.reports import sending
from shared import ops, telemetry
from shared.errors import AtelierError
from shared.replies import Reply

if TYPE_CHECKING:
    from services.artifacts.app import App

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 2.0, 60.0
"""How long the object store may take to accept a connection, and between two pieces of an object, in seconds."""

DRAIN_S = 60.0
"""How long transfers in hand may go on after the process was told to stop, in seconds."""

STATUS = {
    "invalid": 400,
    "unauthorized": 401,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "unavailable": 503,
    "outcome_unknown": 503,
    "deadline_exceeded": 503,
}
"""The HTTP status beside a Reply that carries an error; the Reply itself is what counts."""

_SHA256 = "{sha256:[0-9a-f]{64}}"
"""A hash in an address."""

_REPLY = "/internal/replies/{owner}/{subject}/{id}"
"""The address of a kept reply."""

Serve = Callable[["App", web.Request], Awaitable[web.StreamResponse]]


class TransferServer:
    """Listens on ATELIER_HTTP_BIND."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Start to listen."""
        self._runner = await ops.listen(
            self.application(), self._app.settings.http_bind, handler_cancellation=True, shutdown_timeout=DRAIN_S
        )

    def application(self) -> web.Application:
        """All that it answers; holds the session to the object store."""
        server = web.Application(client_max_size=claim_checks.MAX_PAYLOAD_BYTES)
        server.cleanup_ctx.append(_storage)
        server.on_response_prepare.append(ops.close_unless_read)
        server.on_response_prepare.append(ops.note_begun)
        server.add_routes(
            [
                web.put("/internal/datasets/{id}", self._route(uploads.receive_dataset)),
                web.get("/internal/datasets/{id}/data", self._route(downloads.send_dataset)),
                web.get("/internal/artifacts/{id}", self._route(downloads.send_artifact)),
                web.put(f"/internal/files/{_SHA256}", self._route(file_transfers.receive_content)),
                web.get(f"/internal/files/{_SHA256}", self._route(file_transfers.send_content)),
                web.post("/internal/file-archives/{id}", self._route(file_archive.send_file_archive)),
                web.get("/internal/executions/{id}/archive", self._route(archive.send_archive)),
                web.get("/internal/executions/{id}/report", self._route(sending.send_report)),
                web.put(_REPLY, self._route(kept_replies.receive)),
                web.get(_REPLY, self._route(kept_replies.send)),
                web.put("/internal/payloads/{id}", self._route(claim_checks.receive)),
                web.get("/internal/payloads/{id}", self._route(claim_checks.send)),
                web.delete("/internal/payloads/{id}", self._route(claim_checks.remove)),
            ]
        )
        return server

    async def close(self) -> None:
        """Finish the transfers in hand."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self._app.reports.close()

    def _route(self, serve: Serve) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            parent = request.headers.get("traceparent")
            with telemetry.span(f"{request.method} {serve.__name__}", kind=SpanKind.SERVER, traceparent=parent):
                try:
                    return await serve(self._app, request)
                except AtelierError as error:
                    if begun := ops.broken_off(request):
                        log.warning("transfer broken off", reason=error.detail)
                    return begun or _fault(error)
                except (ConnectionResetError, aiohttp.ClientError) as error:
                    log.info("transfer broken off", reason=type(error).__name__)
                    raise
                except Exception:
                    log.exception("transfer failed", path=request.path)
                    failed = AtelierError("An internal error occurred; the log has the details.")
                    return ops.broken_off(request) or _fault(failed)

        return handler


async def _storage(server: web.Application) -> AsyncIterator[None]:
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
    session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, read_bufsize=downloads.PIECE_BYTES)
    async with session as storage:
        server[downloads.STORAGE] = storage
        yield


def _fault(error: AtelierError) -> web.Response:
    return web.Response(
        body=Reply.of_error(error).encode(), status=STATUS.get(error.kind, 500), content_type="application/json"
    )
