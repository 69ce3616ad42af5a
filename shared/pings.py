"""Answers to pings, by a thread with a connection of its own: a process with much to do still says that it lives."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import structlog
from aio_pika import DeliveryMode, Message

from shared import topology
from shared.broker import BROKER_DOWN, connect

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage, AbstractRobustExchange

log = structlog.get_logger(__name__)

PONG = "pong"
"""Type of the message that answers a ping."""

STOP_S = 5.0
"""How long the thread may take to close its connection, in seconds; it never keeps the process from ending."""


class PingAnswers:
    """Answers the pings for one service."""

    def __init__(self, url: str, service: str) -> None:
        self._url = url
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="pings", daemon=True)

    def open(self) -> None:
        """Begin to answer."""
        self._thread.start()

    async def close(self) -> None:
        """Answer no more."""
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
            await asyncio.to_thread(self._thread.join, STOP_S)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        stop = asyncio.ensure_future(self._stopping.wait())
        connecting = asyncio.ensure_future(connect(self._url, f"{self._service}-pings"))
        await asyncio.wait({stop, connecting}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            connecting.cancel()
            return
        connection = connecting.result()
        channel = await connection.channel(publisher_confirms=False)
        # One at a time: a process that stands still keeps one ping from the others of its service.
        await channel.set_qos(prefetch_count=1)
        replies = await channel.get_exchange(topology.REPLIES, ensure=False)
        # Passive, and not `get_queue`: that one's consumers are not restored after a loss of the connection.
        queue = await channel.declare_queue(topology.ping_queue(self._service).name, durable=True, passive=True)
        await queue.consume(lambda message: self._answer(message, replies))  # type: ignore[arg-type]
        await stop
        await connection.close()

    async def _answer(self, message: AbstractIncomingMessage, replies: AbstractRobustExchange) -> None:
        try:
            if message.reply_to:
                pong = Message(
                    b"",
                    type=PONG,
                    correlation_id=message.correlation_id,
                    delivery_mode=DeliveryMode.NOT_PERSISTENT,
                )
                await replies.publish(pong, routing_key=message.reply_to, mandatory=False)
            await message.ack()
        except BROKER_DOWN as error:
            log.info("ping not answered", reason=type(error).__name__)
