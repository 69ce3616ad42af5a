"""The worker's fork server as its slots see it: the supervisor tells when there is one, and hands over a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from services.executor.kernels import isolation
from services.executor.kernels.fork_channel import ForkChannel
from services.executor.kernels.fork_link import ForkServerGone
from services.executor.kernels.isolation import Isolation


def description(number: int, found: Isolation) -> dict[str, Any]:
    """Return the message with which a connection for client `number` is handed over."""
    return {"do": "server", "client": number, "isolation": asdict(found)}


def absence(broken: str | None, *, for_good: bool = False) -> dict[str, Any]:
    """Return the message that tells that there is no fork server now, and perhaps why none can be had."""
    return {"do": "noServer", "broken": broken, "forGood": for_good}


class FollowedServer:
    """See `warm_server.WarmServer`, whose face it has. `drop_kernels` ends those made ready by the last server."""

    def __init__(self, drop_kernels: Callable[[], Awaitable[None]]) -> None:
        self.up = asyncio.Event()
        self.settled = asyncio.Event()
        self.broken: str | None = None
        self.isolation: Isolation = isolation.NOTHING
        self._drop_kernels = drop_kernels
        self._channels: list[ForkChannel] = []
        self._for_good = False
        self._told: asyncio.Event = asyncio.Event()
        self._steps: asyncio.Queue[tuple[dict[str, Any], socket.socket | None]] = asyncio.Queue()
        self._following: asyncio.Task[None] | None = None

    @property
    def link(self) -> ForkChannel:
        """The connection to the server that takes requests; to be asked only after `up`."""
        return self._channels[-1]

    @property
    def pid(self) -> int | None:
        """Not known here."""
        return None

    async def open(self) -> None:
        """Wait for what the supervisor tells first. Raises ForkServerGone when there will be none."""
        self._following = asyncio.create_task(self._follow())
        await self._told.wait()
        if self._for_good:
            raise ForkServerGone(self.broken or "")

    async def close(self) -> None:
        """Close the connections; kernels that are left end."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    def look_for_changes(self) -> None:
        """The supervisor does, before it hands out a run."""

    def hear(self, message: dict[str, Any], connection: socket.socket | None) -> None:
        """Take in what the supervisor tells. What has to happen at once does; the rest follows in order."""
        if message["do"] == "noServer":
            self.up.clear()
            self.settled.clear()
        self._steps.put_nowait((message, connection))

    async def _follow(self) -> None:
        while True:
            message, connection = await self._steps.get()
            if message["do"] == "noServer":
                self.broken = message["broken"]
                self._for_good = message["forGood"]
                if self.broken is not None:
                    self.settled.set()
                await self._drop_kernels()
            elif connection is not None:
                channel = ForkChannel(message["client"])
                await channel.connect(connection)
                self._channels = [*(one for one in self._channels if not one.ended.is_set()), channel]
                self.isolation = Isolation(**message["isolation"])
                self.broken = None
                if self._steps.empty():  # else it is gone again
                    self.up.set()
                    self.settled.set()
            self._told.set()
