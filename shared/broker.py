"""RabbitMQ for one process: separate connections to publish and to consume, restored by themselves after a loss."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import aio_pika
import aiormq
import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractRobustChannel, AbstractRobustConnection
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from shared import topology
from shared.envelope import CONTENT_TYPE
from shared.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

PUBLISH_TIMEOUT_S = 5.0
"""A publish without a confirm after this time counts as lost, in seconds. aio-pika's own timeout does not cover
waiting for a reconnection."""

CONNECT_RETRY_S = 0.25
"""Pause between attempts to reach the broker while starting, in seconds."""

RECONNECT_S = 0.2
"""Pause between attempts to restore a lost connection, in seconds."""

HEARTBEAT_S = 10
"""AMQP heartbeat: a silent broker is noticed within two of these, in seconds."""

BROKER_DOWN = (AMQPError, OSError, TimeoutError, asyncio.InvalidStateError, RuntimeError)
"""What aio-pika and aiormq raise when the broker is away or the connection dies under a call."""


class Broker:
    """Two connections and the channels that a process keeps for its whole life."""

    def __init__(self, url: str, *, name: str) -> None:
        self.name = name
        self.url = url
        self._publishing: AbstractRobustConnection | None = None
        self._consuming: AbstractRobustConnection | None = None
        self._channels: list[AbstractChannel] = []  # a channel that nobody refers to is closed by the collector
        self._facts: AbstractRobustChannel | None = None
        self._requests: AbstractExchange | None = None
        self._unconfirmed: AbstractRobustChannel | None = None
        self._nudges: AbstractExchange | None = None
        self._replies: AbstractExchange | None = None
        self._unconfirmed_commands: AbstractExchange | None = None
        self.may_declare = True
        """Whether this process's user may make exchanges and queues; one with least permissions (`broker_users`) uses
        those that are there."""
        self._losses: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Connect, waiting for a broker that is still starting, and declare the topology."""
        self._publishing = await connect(self.url, f"{self.name}-publish")
        self._consuming = await connect(self.url, f"{self.name}-consume")
        channel = await self._publishing.channel(publisher_confirms=True, on_return_raises=True)
        self.may_declare = await _may_declare(self._publishing)
        if self.may_declare:
            await topology.declare(channel)
        facts = await self._publishing.channel(publisher_confirms=True)
        self._unconfirmed = await self._unconfirmed_channel()
        self._channels += [channel, facts]
        self._requests = await channel.get_exchange(topology.COMMANDS, ensure=False)
        self._facts = facts
        self._nudges = await self._unconfirmed.get_exchange(topology.NUDGES, ensure=False)
        self._replies = await self._unconfirmed.get_exchange(topology.REPLIES, ensure=False)
        self._unconfirmed_commands = await self._unconfirmed.get_exchange(topology.COMMANDS, ensure=False)
        self._consuming.close_callbacks.add(self._on_loss)

    async def close(self) -> None:
        """Close both connections; unacknowledged messages go back to their queues."""
        for connection in (self._consuming, self._publishing):
            if connection is not None:
                await connection.close()

    async def check(self) -> None:
        """Raise unless both connections stand (for `/readyz`)."""
        if not self.connected:
            raise Unavailable("The message broker is not available.")

    @property
    def connected(self) -> bool:
        """Both connections stand at this moment."""
        return all(c is not None and c.connected.is_set() for c in (self._publishing, self._consuming))

    async def wait_connected(self, timeout_s: float) -> None:
        """Return when both connections stand; raises Unavailable after `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                for connection in (self._publishing, self._consuming):
                    if connection is None:
                        raise Unavailable("The message broker is not available; try again shortly.")
                    await connection.connected.wait()
        except TimeoutError as error:
            raise Unavailable("The message broker is not available; try again shortly.") from error

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever the consuming connection is lost: replies in flight will not come."""
        self._losses.append(callback)

    async def consumer_channel(self, *, prefetch: int) -> AbstractRobustChannel:
        """A channel of the consuming connection, kept until the process ends."""
        if self._consuming is None:
            raise Unavailable("The message broker is not available.")
        channel = await self._consuming.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=prefetch)
        self._channels.append(channel)
        assert isinstance(channel, aio_pika.RobustChannel)  # noqa: S101 - what a robust connection hands out
        return channel

    async def publish_fact(self, routing_key: str, body: bytes) -> None:
        """Send a fact and return when the broker has confirmed it; raises BROKER_DOWN's members otherwise."""
        if self._facts is None:
            raise Unavailable("The message broker is not available.")
        properties = aiormq.spec.Basic.Properties(content_type=CONTENT_TYPE, delivery_mode=DeliveryMode.PERSISTENT)
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            channel = cast("aiormq.Channel", await self._facts.get_underlay_channel())
            # The confirm is waited for, the socket is not: facts of one moment leave in one packet, which saves work at
            # the broker and at everybody who hears them. The outbox bounds how many are on their way.
            await channel.basic_publish(
                body, exchange=topology.EVENTS, routing_key=routing_key, properties=properties, wait=False
            )

    async def publish_request(self, service: str, message: Message) -> None:
        """Send a command; raises aiormq's DeliveryError at once when the queue is full or missing."""
        if self._requests is None:
            raise Unavailable("The message broker is not available.")
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            await self._requests.publish(message, routing_key=service, mandatory=True)

    async def publish_reply(self, queue: str, message: Message) -> None:
        """Send a reply, unconfirmed: who misses it asks again under the same command id."""
        if self._replies is None:
            raise Unavailable("The message broker is not available.")
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            await self._replies.publish(message, routing_key=queue, mandatory=False)

    async def publish_ping(self, service: str, message: Message) -> None:
        """Ask whether a process of a service is there; raises BROKER_DOWN's members, or waits for a reconnection."""
        if self._unconfirmed_commands is None:
            raise Unavailable("The message broker is not available.")
        await self._unconfirmed_commands.publish(message, routing_key=topology.ping_key(service), mandatory=False)

    async def publish_hint(self) -> None:
        """Tell one waiting worker that there is work; a lost hint costs one idle poll."""
        await self._fire_and_forget(self._unconfirmed_commands, topology.HINT_KEY)

    async def publish_nudge(self) -> None:
        """Tell every worker to look at its cancel flags; a lost nudge costs one heartbeat."""
        await self._fire_and_forget(self._nudges, "")

    async def _fire_and_forget(self, exchange: AbstractExchange | None, key: str) -> None:
        if exchange is None or not self.connected:
            return
        message = Message(b"", delivery_mode=DeliveryMode.NOT_PERSISTENT)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await exchange.publish(message, routing_key=key, mandatory=False)
        except BROKER_DOWN as error:
            log.info("hint not sent", reason=type(error).__name__)

    async def _unconfirmed_channel(self) -> AbstractRobustChannel:
        assert self._publishing is not None  # noqa: S101 - called by open() only
        channel = await self._publishing.channel(publisher_confirms=False)
        self._channels.append(channel)
        assert isinstance(channel, aio_pika.RobustChannel)  # noqa: S101 - what a robust connection hands out
        return channel

    def _on_loss(self, *_: object) -> None:
        for callback in self._losses:
            callback()


async def connect(url: str, name: str) -> AbstractRobustConnection:
    """Return a connection that is restored by itself, shown as `name`; waits for a broker that is still starting."""
    waiting = False
    while True:
        try:
            return await aio_pika.connect_robust(
                url,
                reconnect_interval=RECONNECT_S,
                fail_fast=True,
                heartbeat=HEARTBEAT_S,
                client_properties={"connection_name": name},
            )
        except BROKER_DOWN as error:
            if not waiting:
                log.warning("waiting for the message broker", reason=type(error).__name__)
            waiting = True
            await asyncio.sleep(CONNECT_RETRY_S)


async def _may_declare(connection: AbstractRobustConnection) -> bool:
    """Return whether this user may declare an exchange; asked on a channel of its own, which a refusal closes."""
    assert connection.transport is not None  # noqa: S101 - it has just been opened
    channel = await connection.transport.connection.channel()
    kind = topology.EXCHANGES[topology.COMMANDS].value
    try:
        await channel.exchange_declare(topology.COMMANDS, exchange_type=kind, durable=True)
    except ChannelAccessRefused:
        return False
    await channel.close()
    return True
