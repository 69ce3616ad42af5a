"""A subscriber that writes down every fact it hears, to be compared with the database."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, Self

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection

from shared import topology

TERMINAL = {"execution.completed", "execution.failed", "execution.cancelled"}


class Recorder:
    """Hears `pattern` on a durable queue of its own, so that it misses nothing while the broker restarts."""

    def __init__(self, amqp_url: str, pattern: str, name: str) -> None:
        self._url, self._pattern, self._name = amqp_url, pattern, name
        self._connection: AbstractRobustConnection | None = None
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect_robust(self._url, reconnect_interval=0.2)
        self._channel = await self._connection.channel()
        queue = await self._channel.declare_queue(self._name, durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(topology.EVENTS, self._pattern)
        await queue.consume(self._on_message)
        self._queue = queue
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._connection is not None
        await self._queue.delete(if_unused=False, if_empty=False)
        await self._connection.close()

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        self.events.append(orjson.loads(message.body))
        await message.ack()

    def by_execution(self) -> dict[str, list[dict[str, Any]]]:
        """The facts of each run, in the order they came."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for event in self.events:
            if event["type"].startswith("execution."):
                found[event["data"]["executionId"]].append(event)
        return found

    async def until_terminal(self, execution_ids: set[str], timeout_s: float = 60) -> None:
        """Return when a terminal fact of each run has been heard."""
        async with asyncio.timeout(timeout_s):
            while True:
                heard = {e["data"]["executionId"] for e in self.events if e["type"] in TERMINAL}
                if execution_ids <= heard:
                    return
                await asyncio.sleep(0.05)
