"""Around every call: request id, trace span, metrics, CORS, one log line, and problem+json for whatever goes wrong."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import Counter, Histogram

from services.gateway import connections, problems
from shared import ops, telemetry
from shared.errors import AtelierError

log = structlog.get_logger(__name__)

REQUESTS = Counter("atelier_http_requests_total", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram("atelier_http_request_seconds", "Time to answer a request", ["method", "route"])

REQUEST_ID: web.RequestKey[UUID] = web.RequestKey("request_id", UUID)
"""The id of a request; also the correlation id of every message that it causes."""

PREFLIGHT_AGE_S = 600
"""How long a browser may remember a preflight's answer, in seconds."""

EXPOSED = "ETag, Location, X-Request-Id, Retry-After, Content-Disposition, Content-Range, Accept-Ranges"
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID, Range, X-Change-Message, "
    "X-Request-Id, traceparent"
)
HEADERS_OF_ALL = ("X-Request-Id",)
"""Headers of every answer, beside those of HTTP itself and CORS."""

ALLOWED_METHODS = "GET, HEAD, POST, PUT, DELETE"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
"""Methods that metrics tell apart; a client may invent others."""


def middleware(origins: frozenset[str]) -> Middleware:
    """The middleware; browsers from `origins` may call (`*`: from anywhere)."""

    @web.middleware
    async def frame(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = _request_id(request)
        if (connection := connections.of(request)) is not None:
            connection.begin_request()
        try:
            return await answer(request, handler)
        finally:
            if connection is not None:
                connection.end_request()

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _route(request)
        started = time.monotonic()
        with (
            structlog.contextvars.bound_contextvars(request_id=str(request[REQUEST_ID])),
            telemetry.span(
                f"{request.method} {route}",
                kind=SpanKind.SERVER,
                traceparent=request.headers.get("traceparent"),
                **{"http.request.method": request.method, "http.route": route, "url.path": request.path},
            ) as span,
        ):
            response = _preflight(request, origins) or await _answer(request, handler)
            span.set_attribute("http.response.status_code", response.status)
            if response.status >= 500:
                span.set_status(StatusCode.ERROR)
            elapsed = time.monotonic() - started
            method = request.method if request.method in METHODS else "other"
            REQUESTS.labels(method, route, str(response.status)).inc()
            REQUEST_SECONDS.labels(method, route).observe(elapsed)
            write = log.info if response.status >= 400 or request.method not in ("GET", "HEAD") else log.debug
            write(
                "request", method=request.method, path=request.path, status=response.status, ms=round(elapsed * 1000, 1)
            )
        return response

    return frame


def on_prepare(origins: frozenset[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Adds the headers that every answer carries, streamed ones included."""

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        await ops.note_begun(request, response)
        response.headers["Server"] = "Atelier"
        if REQUEST_ID in request:
            response.headers["X-Request-Id"] = str(request[REQUEST_ID])
        if origins:
            response.headers.update(_cors(request, origins))

    return add_headers


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    names = {"instance": request.path, "request_id": str(request[REQUEST_ID])}
    try:
        return await handler(request)
    except web.HTTPException as error:
        answer = problems.of_http(error, method=request.method, **names)
    except AtelierError as error:
        answer = problems.response(error, **names)
    except Exception as error:  # whatever it is, the client hears of it in the one shape, and the log has the rest
        trace.get_current_span().record_exception(error)
        if ops.has_begun(request):
            log.warning("answer broken off", path=request.path, reason=type(error).__name__)
        else:
            log.exception("call failed", path=request.path)
        answer = problems.response(
            AtelierError("An internal error occurred; name the request id when you report it."), **names
        )
    return ops.broken_off(request) or answer


def _request_id(request: web.Request) -> UUID:
    """The client's own id when it is a GUID, else a new one."""
    try:
        return UUID(request.headers["X-Request-Id"])
    except (KeyError, ValueError):
        return uuid4()


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"


def _preflight(request: web.Request, origins: frozenset[str]) -> web.Response | None:
    """The answer to a browser's question whether it may call; it carries no credential and needs none."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    headers = {}
    if _cors(request, origins).get("Access-Control-Allow-Origin"):
        headers = {
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
        }
    return web.Response(status=204, headers=headers)


def _cors(request: web.Request, origins: frozenset[str]) -> dict[str, str]:
    origin = request.headers.get("Origin")
    if origin is not None and ("*" in origins or origin in origins):
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED, "Vary": "Origin"}
    return {"Vary": "Origin"}
