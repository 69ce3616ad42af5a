"""The public port: builds the aiohttp application from the table of calls, and serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from services.gateway import frame
from services.gateway.connections import Connection, Connections
from services.gateway.dispatch import handler_of
from services.gateway.gateway import Gateway
from services.gateway.routes import CALLS
from shared import ops
from shared.settings import Bind

DRAIN_S = 25.0
"""How long requests in hand may take to finish when the process stops, in seconds: every answer comes within that."""


def application(gateway: Gateway) -> web.Application:
    """All calls, framed."""
    origins = gateway.settings.origins
    app = web.Application(middlewares=[frame.middleware(origins)])
    app.on_response_prepare.append(frame.on_prepare(origins))
    app.on_response_prepare.append(ops.close_unless_read)
    app.router.add_get("/", lead_to_docs)
    for call in CALLS:
        if call.method == "GET":
            app.router.add_get(call.route, handler_of(call, gateway))
        else:
            app.router.add_route(call.method, call.route, handler_of(call, gateway))
    return app


async def lead_to_docs(_request: web.Request) -> web.Response:
    """`GET /`: whoever opens the address in a browser wants to read about it."""
    return web.Response(status=307, headers={"Location": "/docs"})


class PublicServer:
    """The listening socket and the connections on it."""

    def __init__(self, gateway: Gateway, *, announce_close: Callable[[], None]) -> None:
        self._gateway = gateway
        self._announce_close = announce_close
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        bind = Bind(self._gateway.settings.http_bind)
        loop = asyncio.get_running_loop()
        self._runner = web.AppRunner(application(self._gateway), access_log=None, shutdown_timeout=DRAIN_S)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - setup() has made it

        connections = Connections(self._gateway.settings.connections_per_address)

        def connection() -> Connection:
            return Connection(server, connections, loop=loop)

        self._listening = await loop.create_server(connection, bind.host, bind.port, reuse_address=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._listening is not None  # noqa: S101 - asked after open()
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening, end the event streams, finish the requests in hand."""
        self._announce_close()
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()
