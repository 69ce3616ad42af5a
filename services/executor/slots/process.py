"""What every process of a worker does that is not its supervisor: open its parts, obey, close them."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import structlog

from services.executor.slots import samples
from services.executor.slots.channel import Channel, Message
from services.executor.slots.followed_server import FollowedServer
from shared.process import Part

log = structlog.get_logger(__name__)


class Member(ABC):
    """One process. Its parts are opened in order and closed in reverse."""

    def __init__(self, connection: socket.socket) -> None:
        self.server: FollowedServer | None = None
        self.channel = Channel(connection, self._hear)
        self.is_open = asyncio.Event()
        self._stopping = asyncio.Event()

    @abstractmethod
    def parts(self) -> Sequence[Part]:
        """Return what it consists of, in the order to be opened."""

    @abstractmethod
    def obey(self, message: Message, connection: socket.socket | None) -> None:
        """Do what only this kind of process does."""

    @abstractmethod
    async def warm_up(self) -> None:
        """Do once what is slow the first time, before the process says that it is open."""

    @abstractmethod
    async def rest(self) -> None:
        """Return when what is in hand has ended: called before the parts are closed."""

    def state(self) -> dict[str, Any]:
        """Return what the supervisor tells in `/readyz`."""
        return {}

    async def live(self) -> None:
        """Open the parts, serve until told to stop, close them."""
        gone = asyncio.create_task(self.channel.closed.wait())
        living = asyncio.create_task(self._serve())
        await asyncio.wait({gone, living}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not living.done():
            # The worker has ended: its runs are others' soon. Nothing of this process may go on.
            os._exit(0)
        gone.cancel()
        living.result()

    async def _serve(self) -> None:
        opened: list[Part] = []
        try:
            for part in self.parts():
                await part.open()
                opened.append(part)
            await self.warm_up()
            gc.collect()
            gc.freeze()
            self.is_open.set()
            self.channel.send({"say": "open"})
            await self._stopping.wait()
            await self.rest()
        finally:
            for part in reversed(opened):
                await part.close()

    def _hear(self, message: Message, descriptors: list[int]) -> None:
        connection = socket.socket(fileno=descriptors[0]) if descriptors else None
        if "ask" in message:
            self._answer(message)
        elif message["do"] == "stop":
            self._stopping.set()
        elif message["do"] in ("server", "noServer"):
            assert self.server is not None  # noqa: S101 - made with the member
            self.server.hear(message, connection)
        else:
            self.obey(message, connection)

    def _answer(self, message: Message) -> None:
        number = message["id"]
        if message["ask"] == "state":
            self.channel.send({"answer": number, "state": self.state(), "last": True})
            return
        pieces = samples.taken()
        for at, piece in enumerate(pieces):
            self.channel.send({"answer": number, "samples": piece, "last": at == len(pieces) - 1})
