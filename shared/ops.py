"""The operations port of a process: is it alive, can it work, what does it count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.settings import Bind

CHECK_TIMEOUT_S = 3.0
"""A dependency that does not answer within this many seconds counts as down."""

Check = Callable[[], Awaitable[dict[str, Any] | None]]
"""Raises when the dependency is down; may return details to show."""


class Readiness:
    """What a process needs to do its work; `/readyz` asks each dependency anew."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self.draining = False

    def add(self, name: str, check: Check) -> None:
        """Ask `check` under `name`."""
        self._checks[name] = check

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and each dependency's state."""
        results = await asyncio.gather(*(self._one(check) for check in self._checks.values()))
        checks = dict(zip(self._checks, results, strict=True))
        ready = not self.draining and all(check["ok"] for check in checks.values())
        return ready, {"status": "ready" if ready else "draining" if self.draining else "not ready", "checks": checks}

    @staticmethod
    async def _one(check: Check) -> dict[str, Any]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                details = await check()
        except Exception as error:  # any failure of a dependency is an answer here, never a crash of the probe
            return {"ok": False, "reason": type(error).__name__}
        return {"ok": True, **(details or {})}


async def healthz(_request: web.Request) -> web.Response:
    """The process runs its event loop."""
    return web.json_response({"status": "ok"})


def readyz(readiness: Readiness) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler for `/readyz`: 200 when the process can work, else 503 with the reasons."""

    async def handler(_request: web.Request) -> web.Response:
        ready, report = await readiness.report()
        headers = {} if ready else {"Retry-After": "1"}
        return web.json_response(report, status=200 if ready else 503, headers=headers)

    return handler


Exposition = Callable[[], Awaitable[bytes]]
"""Makes what `/metrics` shows, in Prometheus' text format."""


async def own_metrics() -> bytes:
    """Return the metrics of this process."""
    return generate_latest()


def metrics(exposition: Exposition) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler for `/metrics`."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=await exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return handler


async def serve(bind: str, readiness: Readiness, exposition: Exposition = own_metrics) -> web.AppRunner:
    """Open the operations port."""
    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz(readiness))
    app.router.add_get("/metrics", metrics(exposition))
    return await listen(app, bind)


_BEGUN: web.RequestKey[web.StreamResponse] = web.RequestKey("begun", web.StreamResponse)


async def note_begun(request: web.Request, response: web.StreamResponse) -> None:
    """A signal for `on_response_prepare`: remembers that an answer has begun, for `broken_off`."""
    request[_BEGUN] = response


def has_begun(request: web.Request) -> bool:
    """Return whether an answer to the request has begun."""
    return _BEGUN in request


def broken_off(request: web.Request) -> web.StreamResponse | None:
    """The answer that had begun when something failed: too late for another one, which would end up within the body.
    The connection is cut, so that the reader sees that the body is not whole."""
    begun = request.get(_BEGUN)
    if begun is not None and request.transport is not None:
        request.transport.abort()
    return begun


async def close_unless_read(request: web.Request, response: web.StreamResponse) -> None:
    """A signal for `on_response_prepare`: an answer that comes before the end of the request's body is the connection's
    last. aiohttp goes on taking bytes in for some seconds, so that whoever still sends gets to read the answer."""
    if not request.content.is_eof():
        response.force_close()
        response.headers["Connection"] = "close"


async def listen(app: web.Application, bind: str, **options: Any) -> web.AppRunner:
    """Serve `app` at `host:port` without access logs."""
    address = Bind(bind)
    runner = web.AppRunner(app, access_log=None, **options)
    await runner.setup()
    await web.TCPSite(runner, address.host, address.port, reuse_address=True).start()
    return runner
