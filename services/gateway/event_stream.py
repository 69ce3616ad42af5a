"""A run's events as Server-Sent Events: first what PostgreSQL has, then what happens, each number once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import orjson
import structlog
from aiohttp import web
from prometheus_client import Gauge

from services.gateway.calls import Asked
from services.gateway.feed import Listener, LiveEvent, Notice
from shared.contracts.executions import ExecutionEventPage, ListExecutionEvents
from shared.errors import AtelierError, Fault, Invalid, OutcomeUnknown, Unavailable

log = structlog.get_logger(__name__)

OPEN_STREAMS = Gauge("atelier_open_event_streams", "Event streams that clients hold open")

HEARTBEAT_S = 15.0
"""A comment is sent after so much silence, in seconds, so that proxies keep the connection. Also when a stream looks
into PostgreSQL again, in case the broker lost an event and nothing happened after it."""

PAGE = 500
"""Events read at once from PostgreSQL."""

RETRY_S = 1.0
"""Pause before history is read again while executor is away, in seconds."""

SLOWEST_WRITE_S = 60.0
"""A client that takes nothing for so long has gone, in seconds."""

LARGEST_WRITE_BYTES = 64_000
"""Events that have come together are sent together, up to about so many bytes."""

CLIENT_RETRY_MS = 1_000
"""How soon a client should come back after a broken connection, in milliseconds."""

HIGHEST_SEQUENCE = 2_147_483_647
"""The number of an event is a 32-bit integer; after this one comes none."""

TERMINAL = frozenset({"execution.completed", "execution.failed", "execution.cancelled"})
"""Types of the event that ends a run."""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Nothing has happened for a while."""


class History(Protocol):
    """Reads a page of a run's stored events after a sequence number."""

    async def __call__(self, after: int) -> ExecutionEventPage:
        """At most PAGE events. Raises Unavailable."""


async def follow(
    first: ExecutionEventPage, history: History, live: Listener, *, after: int
) -> AsyncIterator[LiveEvent | Heartbeat]:
    """Every event after number `after`, each once and in order, until the run's last one. `first` is the page after
    `after`, read when `live` was already listening."""
    last = after
    page: ExecutionEventPage | None = first
    while page is not None:
        for stored in page.events:
            event = _of_stored(stored)
            if event.sequence > last:
                last = event.sequence
                yield event
                if event.type in TERMINAL:
                    return
        if len(page.events) < PAGE:
            if page.ended:
                return
            async for heard in _live(live, last):
                if isinstance(heard, LiveEvent):
                    last = heard.sequence
                    yield heard
                    if heard.type in TERMINAL:
                        return
                elif isinstance(heard, Heartbeat):
                    yield heard
                else:
                    return
        page = None
        async for read in _read(history, live, last):
            if isinstance(read, Heartbeat):
                yield read
            else:
                page = read


async def _live(live: Listener, last: int) -> AsyncIterator[LiveEvent | Heartbeat | Notice]:
    """What happens after number `last`, until history has to be read again. Ends with CLOSING when all is over."""
    while True:
        heard = await live.next(HEARTBEAT_S)
        if heard is None:
            yield Heartbeat()
            return
        if heard is Notice.CLOSING:
            yield heard
            return
        if heard is Notice.MISSED:
            return
        if isinstance(heard, LiveEvent) and heard.sequence > last:
            if heard.sequence > last + 1:
                return  # a gap: the missing ones are committed, so history has them
            last = heard.sequence
            yield heard


async def _read(history: History, live: Listener, last: int) -> AsyncIterator[ExecutionEventPage | Heartbeat]:
    """The next page of history, with heartbeats while it cannot be had; nothing when the process is stopping."""
    while not live.closing:
        try:
            yield await history(last)
        except (Unavailable, OutcomeUnknown) as error:
            log.info("history not available", reason=error.detail)
            yield Heartbeat()
            await asyncio.sleep(RETRY_S)
        else:
            return


def _of_stored(event: dict[str, object]) -> LiveEvent:
    return LiveEvent(sequence=int(str(event["sequence"])), type=str(event["type"]), body=orjson.dumps(event))


def encode(event: LiveEvent | Heartbeat) -> bytes:
    """The bytes of one event; JSON has no raw line break, so one `data` line is enough."""
    if isinstance(event, Heartbeat):
        return b":\n\n"
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.type.encode(), event.body)


def resume_point(header: str | None, query: str | None) -> int:
    """The number after which to go on. Raises Invalid when it is no number."""
    text = (header or query or "0").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        message = "must be the number of an event"
        raise Invalid(f"Last-Event-ID {message}.", faults=[Fault(path="Last-Event-ID", message=message)])
    return min(int(text), HIGHEST_SEQUENCE)


async def stream(asked: Asked, notebook_id: UUID, execution_id: UUID, *, after: int) -> web.StreamResponse:
    """Answer with the run's events until its end. Raises NotFound and Unavailable before the first byte only."""

    async def history(after: int) -> ExecutionEventPage:
        return await asked.ask(
            ListExecutionEvents(
                scope=asked.scope,
                caller=asked.caller,
                execution_id=execution_id,
                notebook_id=notebook_id,
                after=after,
                limit=PAGE,
            )
        )

    with asked.gateway.streams.hold(asked.principal):
        return await _stream(asked, notebook_id, execution_id, history, after=after)


async def _stream(
    asked: Asked, notebook_id: UUID, execution_id: UUID, history: History, *, after: int
) -> web.StreamResponse:
    async with asked.gateway.feeds.listen(asked.scope, notebook_id, execution_id) as live:
        first = await history(after)
        if after and first.ended and not first.events:
            return web.Response(status=204)  # a browser's EventSource stops coming back (WHATWG HTML, 9.2)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would hold events back
            }
        )
        await response.prepare(asked.request)
        if asked.request.method == "HEAD":
            return response
        with OPEN_STREAMS.track_inprogress():
            await _write(response, b"retry: %d\n\n" % CLIENT_RETRY_MS)
            try:
                together = b""
                async for event in follow(first, history, live, after=after):
                    together += encode(event)
                    at_hand = isinstance(event, LiveEvent) and live.has(event.sequence + 1)
                    if not at_hand or len(together) > LARGEST_WRITE_BYTES:
                        await _write(response, together)
                        together = b""
            except AtelierError as error:
                log.warning("event stream ended early", reason=error.detail)  # such as a notebook deleted meanwhile
            await response.write_eof()
        return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    try:
        async with asyncio.timeout(SLOWEST_WRITE_S):
            await response.write(data)
    except TimeoutError as error:
        raise ConnectionResetError("the client reads nothing") from error
