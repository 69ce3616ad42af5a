"""Connections to the public port: how many an address may hold, and how long a request's head may take to arrive."""

from __future__ import annotations

import asyncio
import collections
from typing import Any
from uuid import uuid4

import structlog
from aiohttp import web
from prometheus_client import Counter

from services.gateway import problems
from shared.errors import Invalid

log = structlog.get_logger(__name__)

HEAD_S = 15.0
"""How long a request's line and headers may take to arrive, in seconds. Honest clients send them at once."""

IDLE_S = 75.0
"""How long an idle connection is kept for the next request, in seconds: longer than proxies keep theirs."""

LONGEST_LINE = 16 * 1024
"""Longest request line and header line, in bytes: download links are longer than most addresses."""

REFUSED = Counter("atelier_http_connections_refused_total", "Connections closed unread", ["reason"])


class Connections:
    """How many connections each address holds. A `limit` of 0 means no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: collections.Counter[str] = collections.Counter()

    def enter(self, address: str) -> bool:
        """Count a new connection; return whether the address may hold it."""
        self._open[address] += 1
        return self._limit <= 0 or self._open[address] <= self._limit

    def leave(self, address: str) -> None:
        """Count a connection as closed."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]


class Connection(web.RequestHandler):
    """One connection. What is no HTTP never reaches the application; it is refused here, in the same shape."""

    __slots__ = ("_address", "_connections", "_in_request", "_waiting_for_head")

    def __init__(self, manager: web.Server, connections: Connections, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=IDLE_S,
            auto_decompress=False,  # a compressed body is refused, not unpacked
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        self._connections = connections
        self._address = ""
        self._in_request = False
        self._waiting_for_head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. Closes the connection unread when its address holds too many."""
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        admitted = self._connections.enter(self._address)
        super().connection_made(transport)
        self._expect_head()
        if not admitted and isinstance(transport, asyncio.Transport):
            REFUSED.labels("too many").inc()
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by asyncio."""
        self._stop_waiting()
        self._connections.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what the client sent."""
        if not self._in_request and self._waiting_for_head is None:
            self._expect_head()
        super().data_received(data)

    def begin_request(self) -> None:
        """Called by the middleware: a request's head has arrived."""
        self._in_request = True
        self._stop_waiting()

    def end_request(self) -> None:
        """Called by the middleware: the request is answered."""
        self._in_request = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp for bytes that it cannot read as a request, with status 400."""
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        reason = next(iter((message or "").strip().splitlines()), "") or "it is no HTTP request"
        request_id = str(uuid4())
        log.info("request not readable", request_id=request_id, reason=reason)
        response = problems.response(
            Invalid(f"The request cannot be read: {reason[:200]}"), instance="", request_id=request_id
        )
        response.headers["X-Request-Id"] = request_id
        response.force_close()
        return response

    def _expect_head(self) -> None:
        self._waiting_for_head = asyncio.get_running_loop().call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting_for_head is not None:
            self._waiting_for_head.cancel()
            self._waiting_for_head = None

    def _give_up(self) -> None:
        self._waiting_for_head = None
        if self.transport is not None and not self._in_request:
            REFUSED.labels("no request").inc()
            self.transport.abort()


def of(request: web.Request) -> Connection | None:
    """Return the connection that the request came on; None for one of another kind of server."""
    protocol: Any = request.protocol
    return protocol if isinstance(protocol, Connection) else None
