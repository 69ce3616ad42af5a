"""The answering side of the bus: takes a service's commands, runs their handlers, replies after commit.

A write runs once per command id, however often it arrives: its reply is stored by the transaction that does the work
(DESIGN.md decisions 1 and 4), and an Idempotency-Key is one more name for that reply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from aio_pika import DeliveryMode, Message
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, ValidationError

from shared import replies, signatures, telemetry, topology
from shared.broker import BROKER_DOWN, Broker
from shared.command_log import AlreadyDone, Held, KeptReplies, WriteTransaction
from shared.contracts.base import Command
from shared.database import Database, Transaction
from shared.envelope import CONTENT_TYPE, Envelope, Undecodable
from shared.errors import (
    AtelierError,
    DeadlineExceeded,
    Invalid,
    OutcomeUnknown,
    Unauthorized,
    Unavailable,
)
from shared.payloads import BUS_BODY_LIMIT, HttpPayloadStore
from shared.pings import PingAnswers

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

log = structlog.get_logger(__name__)

PREFETCH = 64
"""Commands a process works on at once; the rest wait in the queue, where they count against its bound."""


class Context:
    """What a handler knows of the message it handles, and its way to the one transaction of a write."""

    def __init__(
        self,
        envelope: Envelope,
        command: Command[Any],
        database: Database,
        held: Held | None = None,
        kept: KeptReplies | None = None,
    ) -> None:
        self.envelope = envelope
        self._command = command
        self._database = database
        self._held = held
        self._kept = kept

    @property
    def deadline(self) -> datetime | None:
        """When the caller stops waiting."""
        return self.envelope.deadline

    async def hold(self, what: AbstractAsyncContextManager[Any]) -> None:
        """Enter what the answer takes of something scarce, such as memory, and leave it when the reply has been sent.
        The answer counts as large: it is encoded in a thread."""
        if self._held is None:
            raise RuntimeError("nobody would let go of what is held")
        self._held.is_large = True
        await self._held.enter_async_context(what)

    async def recall(self) -> None:
        """Raise AlreadyDone when the Idempotency-Key has been answered before, or Conflict: for a handler that asks
        others before its transaction, since what they say may have changed since then."""
        if self._command.idempotency is not None:
            async with self._database.transaction() as transaction:
                await self._write(transaction).look_up()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriteTransaction]:
        """The transaction of a write: answers what was answered before, or does the work and stores the reply with it.

        Raises AlreadyDone (the responder sends the stored reply), Conflict (an Idempotency-Key used for something
        else) and what `Database.transaction` raises.
        """
        async with self._database.transaction(cause=self.envelope, deadline=self.envelope.deadline) as transaction:
            write = self._write(transaction)
            await write.look_up()
            yield write
            await write.store()

    def _write(self, transaction: Transaction) -> WriteTransaction:
        return WriteTransaction(transaction, self.envelope, self._command, kept=self._kept, held=self._held)


Handler = Callable[[Any, Any, Context], Awaitable[BaseModel]]
"""`async def create_notebook(app, command, context) -> Notebook`."""


class Responder:
    """Serves one service's command queue with the handlers of its registry. Only commands signed with `key` are carried
    out."""

    def __init__(
        self,
        service: str,
        app: Any,
        handlers: Mapping[type[Command[Any]], Handler],
        *,
        broker: Broker,
        database: Database,
        payloads: HttpPayloadStore,
        key: str,
    ) -> None:
        self._key = key
        self._service = service
        self._app = app
        self._handlers = {command.name(): (command, handler) for command, handler in handlers.items()}
        self._broker = broker
        self._database = database
        self._payloads = payloads
        self._pings = PingAnswers(broker.url, service)
        self._running: set[asyncio.Task[None]] = set()
        self._stop: Callable[[], Awaitable[Any]] | None = None

    async def open(self) -> None:
        """Begin to take commands."""
        channel = await self._broker.consumer_channel(prefetch=PREFETCH)
        wanted = topology.command_queue(self._service)
        queue = await channel.declare_queue(
            wanted.name, durable=True, arguments=wanted.arguments, passive=not self._broker.may_declare
        )
        tag = await queue.consume(self._on_message)
        self._stop = lambda: queue.cancel(tag)
        self._pings.open()

    async def close(self) -> None:
        """Take no more commands and finish those in hand."""
        await self._pings.close()
        if self._stop is not None:
            try:
                await self._stop()
            except BROKER_DOWN as error:
                log.info("consumer already gone", reason=type(error).__name__)
        if self._running:
            await asyncio.wait(self._running)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._handle(message))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        async with Held() as held:
            await self._answer(message, held)

    async def _answer(self, message: AbstractIncomingMessage, held: Held) -> None:
        if signatures.is_ours(message.headers.get(signatures.HEADER), message.body, key=self._key):
            reply = await self._reply_to(message.body, held)
        else:
            log.error("command refused: it is not signed by Atelier", user=message.user_id, app=message.app_id)
            telemetry.COMMANDS_HANDLED.labels("forged", "unauthorized").inc()
            reply = replies.Reply.of_error(Unauthorized("The command is not signed by a part of Atelier."))
        try:
            if message.reply_to:
                await self._broker.publish_reply(
                    message.reply_to,
                    Message(
                        await self._encoded(reply, held),
                        content_type=CONTENT_TYPE,
                        correlation_id=message.correlation_id,
                        delivery_mode=DeliveryMode.NOT_PERSISTENT,
                    ),
                )
            await message.ack()
        except (*BROKER_DOWN, Unavailable) as error:
            # The caller asks again under the same id; the broker delivers an unacknowledged command again.
            log.warning("reply not sent", reason=type(error).__name__)

    async def _encoded(self, reply: replies.Reply, held: Held) -> bytes:
        body = await asyncio.to_thread(reply.encode) if held.is_large else reply.encode()
        if len(body) <= BUS_BODY_LIMIT:
            return body
        del body
        try:
            data = await asyncio.to_thread(orjson.dumps, reply.data)
            return replies.Reply(dataref=await self._payloads.put(data)).encode()
        except Unavailable as error:
            return replies.Reply.of_error(error).encode()

    async def _reply_to(self, body: bytes, held: Held) -> replies.Reply:
        started = time.monotonic()
        name = "undecodable"
        try:
            envelope = Envelope.decode(body)
            name = envelope.type
            with (
                telemetry.span(f"handle {name}", kind=SpanKind.SERVER, traceparent=envelope.traceparent),
                structlog.contextvars.bound_contextvars(command=name, correlation_id=str(envelope.correlationid)),
            ):
                reply = await self._run(envelope, held)
        except Undecodable as error:
            log.error("command not understood", reason=error.reason)
            reply = replies.Reply.of_error(Invalid("The command could not be read."))
        telemetry.COMMANDS_HANDLED.labels(name, reply.error or "ok").inc()
        telemetry.COMMAND_SECONDS.labels(name).observe(time.monotonic() - started)
        return reply

    async def _run(self, envelope: Envelope, held: Held) -> replies.Reply:
        entry = self._handlers.get(envelope.type)
        if entry is None:
            log.error("no handler for command", type=envelope.type)
            return replies.Reply.of_error(AtelierError("The service does not know this command."))
        model, handler = entry
        try:
            if envelope.dataref is not None:
                held.is_large = True  # and so will the answer be
                body = await self._payloads.get(envelope.dataref)
                command = await asyncio.to_thread(lambda: model.model_validate(orjson.loads(body)))
            else:
                command = model.model_validate(envelope.data)
            if not model.write and envelope.deadline and envelope.deadline < datetime.now(UTC):
                raise DeadlineExceeded("The request waited too long.")
            answer = await handler(self._app, command, Context(envelope, command, self._database, held, self._payloads))
            return await asyncio.to_thread(replies.Reply.of, answer) if held.is_large else replies.Reply.of(answer)
        except AlreadyDone as done:
            return done.reply
        except ValidationError as error:
            log.error("command does not fit its model", type=envelope.type, faults=error.error_count())
            return replies.Reply.of_error(Invalid("The command could not be read."))
        except OutcomeUnknown as error:
            log.warning("commit in doubt", type=envelope.type)
            return replies.Reply.of_error(error)
        except AtelierError as error:
            return replies.Reply.of_error(error)
        except Exception:
            log.exception("handler failed", type=envelope.type)
            return replies.Reply.of_error(AtelierError("An internal error occurred; the log has the details."))
