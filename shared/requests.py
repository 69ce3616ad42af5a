"""Asking another service over the bus: a deadline, one reply queue per process, and asking again when a reply is lost.

DESIGN.md decision 4. A write has one id however often it is sent; the service carries it out once. Outcomes:
the answer, the service's own error, Unavailable (no effect, now or later) or OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID, uuid4

import structlog
from aio_pika import DeliveryMode, Message
from aiormq.exceptions import DeliveryError
from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from shared import envelope as envelopes
from shared import replies, reply_size, signatures, telemetry, topology
from shared.broker import BROKER_DOWN, Broker
from shared.contracts.base import Command
from shared.envelope import CONTENT_TYPE
from shared.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from shared.payloads import BUS_BODY_LIMIT, PayloadStore
from shared.pings import PONG
from shared.watch import Watch

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

log = structlog.get_logger(__name__)

READ_DEADLINE_S, WRITE_DEADLINE_S = 5.0, 10.0
"""How long a service may take to answer, in seconds (decision 4)."""

GRACE_S = 0.5
"""How much longer than the deadline a reply may be on its way, in seconds."""

ASK_AGAIN_S = 4.0
"""How long to wait for word on a write whose reply was lost, per attempt, in seconds."""

CONNECT_PATIENCE_S = 1.0
"""How long a request waits for a lost broker connection to come back, in seconds."""

PING_AGAIN_S = 0.25
"""Pause before a ping that was not answered is sent again, in seconds."""

RETRY_PAUSE_S = 0.1
"""Pause before a read with patience is sent again, in seconds."""

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class _Received:
    """A reply, and how many bytes it had."""

    reply: replies.Reply
    size: int


class _ReplyLost(Exception):
    """The connection that the reply would have come by is gone."""


class Requests:
    """The asking side of the bus, one per process. Commands are signed with `key`."""

    def __init__(self, broker: Broker, payloads: PayloadStore, *, source: str, key: str) -> None:
        self._broker = broker
        self._key = key
        self._payloads = payloads
        self._source = source
        self._queue = f"atelier.replies.{source}.{uuid4()}"
        self._waiting: dict[str, asyncio.Future[_Received]] = {}
        self._pings: dict[str, asyncio.Future[None]] = {}
        self._watches: dict[str, Watch] = {}

    async def open(self) -> None:
        """Start listening for replies."""
        channel = await self._broker.consumer_channel(prefetch=0)
        queue = await channel.declare_queue(self._queue, exclusive=True, auto_delete=True)
        await queue.bind(topology.REPLIES)
        await queue.consume(self._on_reply, no_ack=True)
        self._broker.on_loss(self._on_loss)

    async def close(self) -> None:
        """Watch no more; the broker's connection takes the reply queue with it."""
        for watch in self._watches.values():
            await watch.close()

    async def ask(
        self,
        command: Command[R],
        *,
        patience_s: float = 0.0,
        correlation: UUID | None = None,
        identity: UUID | None = None,
    ) -> R:
        """Send `command` and return its answer; see the module's head for what it raises.

        `patience_s` keeps a read trying for so many seconds while a dependency is down. `identity` names a write that
        may have been asked for before, by this process or another: it is still carried out once.
        """
        with telemetry.span(f"ask {command.name()}", kind=SpanKind.CLIENT):
            if command.write:
                return await self._ask_write(command, correlation, identity or uuid4())
            return await self._ask_read(command, patience_s, correlation)

    async def _ask_read(self, command: Command[R], patience_s: float, correlation: UUID | None) -> R:
        give_up = datetime.now(UTC) + timedelta(seconds=max(patience_s, 0.0))
        while True:
            deadline = datetime.now(UTC) + timedelta(seconds=READ_DEADLINE_S)
            try:
                return await self._send(command, uuid4(), deadline, READ_DEADLINE_S, correlation)
            except (_ReplyLost, Unavailable, DeadlineExceeded) as error:
                if datetime.now(UTC) >= give_up:
                    if isinstance(error, Unavailable):
                        raise
                    raise Unavailable(_slow(command)) from error
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _ask_write(self, command: Command[R], correlation: UUID | None, identity: UUID) -> R:
        deadline = datetime.now(UTC) + timedelta(seconds=WRITE_DEADLINE_S)
        patience = WRITE_DEADLINE_S
        sent = False
        last_try = deadline + timedelta(seconds=ASK_AGAIN_S)
        while True:
            try:
                return await self._send(command, identity, deadline, patience, correlation)
            except DeadlineExceeded as error:
                raise Unavailable(_slow(command)) from error
            except Unavailable:
                if not sent:
                    raise
            except (_ReplyLost, OutcomeUnknown):
                sent = True
            if datetime.now(UTC) >= last_try:
                raise OutcomeUnknown(
                    "The service stopped answering; nobody could tell whether the change took effect. "
                    "Ask for the present state, or repeat the request with the same Idempotency-Key.",
                    extra={"outcomeUnknown": True},
                )
            patience = ASK_AGAIN_S
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _send(
        self, command: Command[R], identity: UUID, deadline: datetime, wait_s: float, correlation: UUID | None
    ) -> R:
        """One attempt. Raises _ReplyLost when the command may have arrived but no reply did.

        A write is sent to a service only that has just answered; a read is given up when the service does not."""
        await self._broker.wait_connected(CONNECT_PATIENCE_S)
        watch = self._watch(command.service)
        if command.write:
            await watch.ensure()
            answer = await self._exchange(command, identity, deadline, wait_s, correlation)
        else:
            watch.refuse_if_away()
            answer = await watch.guard(self._exchange(command, identity, deadline, wait_s, correlation))
        watch.heard()
        return answer

    def _watch(self, service: str) -> Watch:
        if service not in self._watches:
            self._watches[service] = Watch(f"The {service} service", lambda: self._ping(service))
        return self._watches[service]

    async def _ping(self, service: str) -> None:
        """Return when a process of the service has answered."""
        identity = str(uuid4())
        answer = self._pings[identity] = asyncio.get_running_loop().create_future()
        ping = Message(
            b"", correlation_id=identity, reply_to=self._queue, delivery_mode=DeliveryMode.NOT_PERSISTENT, type="ping"
        )
        try:
            while not answer.done():  # one may have come to a process that stands still
                await self._broker.publish_ping(service, ping)
                await asyncio.wait({answer}, timeout=PING_AGAIN_S)
        finally:
            del self._pings[identity]

    async def _exchange(
        self, command: Command[R], identity: UUID, deadline: datetime, wait_s: float, correlation: UUID | None
    ) -> R:
        attempt = str(uuid4())
        message, reference = await self._message(command, identity, attempt, deadline, wait_s, correlation)
        future: asyncio.Future[_Received] = asyncio.get_running_loop().create_future()
        self._waiting[attempt] = future
        try:
            await self._broker.publish_request(command.service, message)
            async with asyncio.timeout(wait_s + GRACE_S):
                received = await future
        except DeliveryError as error:
            raise Unavailable(
                f"The {command.service} service is not running or has too much to do; try again shortly."
            ) from error
        except BROKER_DOWN as error:
            raise _ReplyLost from error
        finally:
            self._waiting.pop(attempt, None)
            if reference is not None:
                self._payloads.drop(reference)  # every attempt has its own
        reply = received.reply
        reply.raise_error()
        reply_size.note(received.size)
        if reply.dataref is None:
            return await reply_size.off_loop(lambda: command.reply_type().model_validate(reply.data))
        body = await self._payloads.get(reply.dataref)
        reply_size.note(len(body))
        self._payloads.drop(reply.dataref)
        return await asyncio.to_thread(command.reply_type().model_validate_json, body)

    async def _message(
        self,
        command: Command[R],
        identity: UUID,
        attempt: str,
        deadline: datetime,
        wait_s: float,
        correlation: UUID | None,
    ) -> tuple[Message, str | None]:
        """The message, and the reference of its body if that is too large for the bus."""
        envelope = envelopes.of_command(
            command,
            source=self._source,
            identity=identity,
            deadline=deadline,
            traceparent=telemetry.traceparent(),
            correlation=correlation,
            with_data=False,
        )
        data = command.__pydantic_serializer__.to_json(command, by_alias=True)
        reference = None
        if len(data) > BUS_BODY_LIMIT:
            reference = await self._payloads.put(data)
            body = envelope.model_copy(update={"dataref": reference}).encode()
        else:
            body = envelope.encode(data)
        message = Message(
            body,
            content_type=CONTENT_TYPE,
            correlation_id=attempt,
            reply_to=self._queue,
            headers={signatures.HEADER: signatures.sign(body, key=self._key)},
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
            expiration=timedelta(seconds=wait_s),
        )
        return message, reference

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        if message.type == PONG:
            ping = self._pings.get(message.correlation_id or "")
            if ping is not None and not ping.done():
                ping.set_result(None)
            return
        future = self._waiting.get(message.correlation_id or "")
        body = message.body
        if len(body) > reply_size.IN_LOOP_BYTES:
            reply = await asyncio.to_thread(replies.decode, body)
        else:
            reply = replies.decode(body)
        if future is not None and not future.done():
            future.set_result(_Received(reply, len(body)))
        elif reply.dataref is not None:
            self._payloads.drop(reply.dataref)  # too late: nobody reads it any more

    def _on_loss(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_ReplyLost())


def _slow(command: Command[R]) -> str:
    return f"The {command.service} service did not answer in time; try again shortly."
