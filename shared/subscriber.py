"""Hearing facts: takes a service's event queue one by one and waits out a dead dependency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry.trace import SpanKind

from shared import envelope as envelopes
from shared import telemetry, topology
from shared.broker import BROKER_DOWN, Broker
from shared.contracts.base import Event
from shared.envelope import Envelope, Undecodable
from shared.errors import OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

log = structlog.get_logger(__name__)

PREFETCH = 32
"""Facts fetched ahead; they are handled one after another, so order is kept."""

PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""First and longest pause while a dependency is down, in seconds. The message stays unacknowledged meanwhile: a
nack-requeue would count against its delivery limit (DESIGN.md decision 12)."""

EventHandler = Callable[[Any, Any, Envelope], Awaitable[None]]
"""`async def on_execution_ended(app, event, envelope)`; idempotent, since a fact may come twice."""


class Subscriber:
    """Serves one service's event queue with the handlers of its registry."""

    def __init__(self, service: str, app: Any, handlers: Mapping[type[Event], EventHandler], *, broker: Broker) -> None:
        self._service = service
        self._app = app
        self._handlers = {event.type: (event, handler) for event, handler in handlers.items()}
        self._broker = broker
        self._lock = asyncio.Lock()
        self._stop: Callable[[], Awaitable[Any]] | None = None

    async def open(self) -> None:
        """Begin to take facts."""
        channel = await self._broker.consumer_channel(prefetch=PREFETCH)
        wanted = topology.EVENT_QUEUES[self._service]
        queue = await channel.declare_queue(
            wanted.name, durable=True, arguments=wanted.arguments, passive=not self._broker.may_declare
        )
        tag = await queue.consume(self._on_message)
        self._stop = lambda: queue.cancel(tag)

    async def close(self) -> None:
        """Take no more facts; one in hand is finished, the rest go back."""
        if self._stop is not None:
            try:
                await self._stop()
            except BROKER_DOWN as error:
                log.info("consumer already gone", reason=type(error).__name__)
        async with self._lock:
            self._stop = None

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        async with self._lock:
            settle = await self._settle(message)
        try:
            await settle
        except BROKER_DOWN as error:
            log.warning("fact not acknowledged, it will come again", reason=type(error).__name__)

    async def _settle(self, message: AbstractIncomingMessage) -> Awaitable[None]:
        """Handle a message; returns what to tell the broker."""
        kind = "undecodable"
        try:
            envelope = Envelope.decode(message.body)
            kind = envelope.type
            entry = self._handlers.get(envelope.type)
            if entry is not None:
                model, handler = entry
                await self._handle(envelope, envelopes.event_data(envelope, model), handler)
        except Undecodable as error:
            log.error("fact not understood, set aside", type=kind, reason=error.reason)
            telemetry.EVENTS_CONSUMED.labels(kind, "dead").inc()
            return message.reject(requeue=False)
        except Exception:
            log.exception("fact not digested, set aside", type=kind)
            telemetry.EVENTS_CONSUMED.labels(kind, "dead").inc()
            return message.reject(requeue=False)
        telemetry.EVENTS_CONSUMED.labels(kind, "ok").inc()
        return message.ack()

    async def _handle(self, envelope: Envelope, event: Event, handler: EventHandler) -> None:
        pause = PAUSE_S
        while True:
            try:
                with (
                    telemetry.span(f"hear {envelope.type}", kind=SpanKind.CONSUMER, traceparent=envelope.traceparent),
                    structlog.contextvars.bound_contextvars(correlation_id=str(envelope.correlationid)),
                ):
                    await handler(self._app, event, envelope)
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("waiting for a dependency", type=envelope.type, reason=error.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                return
