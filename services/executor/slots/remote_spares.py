"""Ready kernels of the worker's `pools` process, as a slot takes them: it connects to the kernel anew, and owns it."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.port import KernelStartError
from services.executor.kernels.spares import Origin
from services.executor.slots.channel import Channel, Message

MOST_ASKS = 3
"""How often a kernel is asked for, when the process that keeps them ends meanwhile."""

Adopt = Callable[[Origin, Message, Sequence[int]], Awaitable[ForkedKernel]]
"""Makes a kernel of what `pools` tells of it, and of its sockets; raises KernelStartError."""


class _ProcessEnded(Exception):
    """The process that keeps kernels ready has ended before it answered."""


class RemoteSpares:
    """See `kernels.spares.Spares`, whose face it has."""

    def __init__(self, adopt: Adopt) -> None:
        self._adopt = adopt
        self._channel: Channel | None = None
        self._connected = asyncio.Event()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}

    def start(self, eager: Iterable[tuple[Origin, int]] = ()) -> None:
        """Nothing: the `pools` process keeps them."""

    async def stop(self) -> None:
        """Hang up."""
        if self._channel is not None:
            self._channel.close()

    async def drop_all(self) -> None:
        """Nothing: the `pools` process does."""

    def ready(self) -> dict[str, int]:
        """None are kept here."""
        return {}

    def connect(self, connection: socket.socket) -> None:
        """Ask over this connection from now on. What was asked over the former one is not answered any more."""
        if self._channel is not None:
            self._channel.close()
        self._fail_all()
        channel = self._channel = Channel(connection, self._hear)
        self._connected.set()
        task = asyncio.create_task(channel.closed.wait())
        task.add_done_callback(lambda _: self._lost(channel))

    async def take(self, origin: Origin) -> tuple[ForkedKernel, bool]:
        """See Spares."""
        for _ in range(MOST_ASKS):
            try:
                return await self._take(origin)
            except _ProcessEnded:
                continue
        raise KernelStartError("the process that keeps such kernels ready ended each time; the worker's log says why")

    async def _take(self, origin: Origin) -> tuple[ForkedKernel, bool]:
        await self._connected.wait()
        channel, number = self._channel, next(self._numbers)
        assert channel is not None  # noqa: S101 - connected
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        channel.send({"take": number, "origin": origin.to_json()})
        try:
            message, descriptors = await answer
        except asyncio.CancelledError:
            channel.send({"cancel": number})
            raise
        finally:
            self._waiting.pop(number, None)
        if "failed" in message:
            raise KernelStartError(message["reason"])
        try:
            kernel = await self._adopt(origin, message, descriptors)
        finally:
            channel.send({"adopted": number})
        return kernel, message["wasReady"]

    def _hear(self, message: Message, descriptors: list[int]) -> None:
        number = message.get("kernel") or message.get("failed")
        waiting = self._waiting.get(number or 0)
        if waiting is not None and not waiting.done():
            waiting.set_result((message, descriptors))
            return
        for one in descriptors:
            os.close(one)
        if self._channel is not None:
            self._channel.send({"cancel": number})

    def _lost(self, channel: Channel) -> None:
        if channel is self._channel:
            self._connected.clear()
            self._fail_all()

    def _fail_all(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_ProcessEnded())
