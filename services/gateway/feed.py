"""Hears runs' events as they happen: one exclusive queue per gateway, bound only to the runs somebody listens to.

DESIGN.md decision 9. Nothing here is reliable on its own, and nothing needs to be: a listener that was too slow, or
whose broker was away, is told `MISSED` and reads again what PostgreSQL has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import structlog
from prometheus_client import Gauge

from shared import topology
from shared.broker import BROKER_DOWN, Broker
from shared.contracts.base import Scope
from shared.envelope import Envelope, Undecodable
from shared.errors import Unavailable

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

log = structlog.get_logger(__name__)

BACKLOG = 1_000
"""Events a slow listener may have waiting; beyond it they are dropped and the listener reads them again."""

BIND_TIMEOUT_S = 2.0
"""How long the broker may take to add or remove a binding, in seconds."""

UNBIND_RETRY_S = 2.0
"""Pause before a binding that could not be removed is tried again, in seconds."""

BINDINGS = Gauge("atelier_gateway_followed_runs", "Runs that this process listens to")


class Notice(Enum):
    """What a listener may hear beside events."""

    MISSED = "missed"
    """Events may have been lost: read them again."""
    CLOSING = "closing"
    """The process is stopping."""


@dataclass(frozen=True, kw_only=True)
class LiveEvent:
    """One event as it came from the bus."""

    sequence: int
    type: str
    body: bytes  # the CloudEvents JSON


Heard = LiveEvent | Notice


class Listener:
    """One reader's ear: a bounded backlog of what happened to one run."""

    def __init__(self) -> None:
        self._backlog: deque[Heard] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self.closing = False  # the process is stopping

    async def next(self, timeout_s: float) -> Heard | None:
        """What is heard next; None when nothing is within `timeout_s` seconds."""
        if not self._backlog:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(max(timeout_s, 0.0)):
                    await self._waiting
            except TimeoutError:
                return None
            finally:
                self._waiting = None
        return self._backlog.popleft()

    def has(self, sequence: int) -> bool:
        """Whether the event of this number is what comes next, without waiting."""
        first = self._backlog[0] if self._backlog else None
        return isinstance(first, LiveEvent) and first.sequence == sequence

    def tell(self, heard: Heard) -> None:
        """Add to the backlog; one that is full is replaced by the notice that events were missed."""
        self.closing = self.closing or heard is Notice.CLOSING
        if len(self._backlog) >= BACKLOG:
            self._backlog.clear()
            heard = Notice.MISSED
        self._backlog.append(heard)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class EventFeed:
    """Tells every listener of a run what happens to it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._name = f"atelier.gateway.live.{uuid4()}"
        self._queue: AbstractQueue | None = None
        self._listeners: dict[str, set[Listener]] = {}  # by execution
        self._bound: set[str] = set()  # routing patterns
        self._changing: dict[str, asyncio.Lock] = {}
        self._unbinding: set[asyncio.Task[None]] = set()
        self._closing = False

    async def open(self) -> None:
        """Declare the queue and begin to hear."""
        channel = await self._broker.consumer_channel(prefetch=0)
        self._queue = await channel.declare_queue(self._name, exclusive=True, auto_delete=True)
        await self._queue.consume(self._on_message, no_ack=True)
        self._broker.on_loss(self._on_loss)
        channel.reopen_callbacks.add(self._on_restored)  # after its queues and bindings are back

    async def close(self) -> None:
        """Forget the bindings; the queue goes with its connection."""
        for task in self._unbinding:
            task.cancel()

    def announce_close(self) -> None:
        """Ask every listener to end, since the process is stopping."""
        self._closing = True
        self._tell_all(Notice.CLOSING)

    @asynccontextmanager
    async def listen(self, scope: Scope, notebook_id: UUID, execution_id: UUID) -> AsyncIterator[Listener]:
        """Hear the run's events from now on. Raises Unavailable when the broker is away."""
        pattern = f"execution.*.{scope.tenant_id}.{scope.project_id}.{notebook_id}.{execution_id}"
        key = str(execution_id)
        listener = Listener()
        if self._closing:
            listener.tell(Notice.CLOSING)
        self._listeners.setdefault(key, set()).add(listener)
        try:
            await self._bind(pattern)
            yield listener
        finally:
            listeners = self._listeners.get(key, set())
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(key, None)
                task = asyncio.create_task(self._unbind(pattern, key))
                self._unbinding.add(task)
                task.add_done_callback(self._unbinding.discard)

    async def _bind(self, pattern: str) -> None:
        async with self._lock(pattern):
            if pattern in self._bound:
                return
            try:
                if self._queue is None:
                    raise Unavailable("The message broker is not available; try again shortly.")
                async with asyncio.timeout(BIND_TIMEOUT_S):
                    await self._queue.bind(topology.EVENTS, pattern)
            except BROKER_DOWN as error:
                raise Unavailable("The message broker is not available; try again shortly.") from error
            self._bound.add(pattern)
            BINDINGS.set(len(self._bound))

    async def _unbind(self, pattern: str, key: str) -> None:
        """Remove a binding that nobody listens to any more, trying until the broker has done so."""
        while True:
            async with self._lock(pattern):
                if key in self._listeners:
                    return
                if pattern not in self._bound or self._queue is None:
                    self._changing.pop(pattern, None)
                    return
                try:
                    async with asyncio.timeout(BIND_TIMEOUT_S):
                        await self._queue.unbind(topology.EVENTS, pattern)
                except BROKER_DOWN as error:
                    log.info("binding not removed yet", reason=type(error).__name__)
                else:
                    self._bound.discard(pattern)
                    self._changing.pop(pattern, None)
                    BINDINGS.set(len(self._bound))
                    return
            await asyncio.sleep(UNBIND_RETRY_S)

    def _lock(self, pattern: str) -> asyncio.Lock:
        return self._changing.setdefault(pattern, asyncio.Lock())

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        listeners = self._listeners.get((message.routing_key or "").rpartition(".")[2])
        if not listeners:
            return
        try:
            envelope = Envelope.decode(message.body)
        except Undecodable as error:
            log.error("event not understood", reason=error.reason)
            return
        if envelope.sequence is None:
            return
        event = LiveEvent(sequence=envelope.sequence, type=envelope.type, body=message.body)
        for listener in listeners:
            listener.tell(event)

    def _on_loss(self) -> None:
        self._tell_all(Notice.MISSED)

    def _on_restored(self, *_: object) -> None:
        self._tell_all(Notice.MISSED)

    def _tell_all(self, notice: Notice) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell(notice)
