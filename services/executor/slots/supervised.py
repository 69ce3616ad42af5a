"""One process of a worker as its supervisor sees it."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from services.executor.slots.channel import Channel, Message
from services.executor.slots.samples import Piece

ANSWER_S = 0.5
"""How long a process may take to answer, in seconds; one that is busier is left out."""

MOST_MEMORY_BYTES = 2_000_000_000
"""What one process may have resident, in bytes: far more than a run within its limits needs."""

WATCH_S = 0.5
"""Pause between two looks whether a process still answers, in seconds."""

RunKey = tuple[UUID, int]
"""An attempt at a run: its execution's id and its epoch."""


class Supervised:
    """See the module. `ended` resolves with its status; `on_change` hears that it is open, or has something ready."""

    def __init__(self, number: int, role: str, connection: socket.socket, on_change: Callable[[], None]) -> None:
        self.number = number
        self.role = role
        self.pid: int | None = None
        self.opened = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ready = 0
        self.stuck: str | None = None
        """Why it was killed, if it was."""
        self.run: RunKey | None = None
        self.idle_since = time.monotonic()
        self._on_change = on_change
        self._channel = Channel(connection, self._hear)
        self._done: asyncio.Future[None] | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[asyncio.Future[list[Message]], list[Message]]] = {}

    @property
    def is_free(self) -> bool:
        """Whether it can take a run."""
        return self.opened.is_set() and self.run is None and not self.ended.done()

    def tell(self, message: Message, connection: socket.socket | None = None) -> None:
        """Send it a message, and with it a connection, which is its from now on."""
        self._channel.send(message, () if connection is None else (connection.fileno(),))
        if connection is not None:
            connection.close()

    def tell_of_run(self, word: str) -> None:
        """Tell it something of the run that it has."""
        if self.run is not None:
            self.tell({"do": word})

    async def execute(self, key: RunKey) -> bool:
        """Have it drive a run; returns whether it came to an end there, or False when the process has ended first."""
        self.run = key
        done = self._done = asyncio.get_running_loop().create_future()
        try:
            self.tell({"do": "run", "execution": str(key[0]), "epoch": key[1]})
            either: set[asyncio.Future[Any]] = {done, self.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return done.done()
        finally:
            self.run, self._done = None, None
            self.idle_since = time.monotonic()

    async def ask(self, what: str) -> list[Message]:
        """Return what it answers, in pieces; none where it does not answer in time."""
        number = next(self._numbers)
        answer: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._asked[number] = (answer, [])
        self.tell({"ask": what, "id": number})
        either: set[asyncio.Future[Any]] = {answer, self.ended}
        await asyncio.wait(either, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        del self._asked[number]
        return answer.result() if answer.done() else []

    async def watch(self, limit_s: float) -> str:
        """Wait until it has not answered for `limit_s` seconds, or has taken too much memory; returns which. Only time
        in which this process ran counts: a machine that stands still is no fault of it."""
        silent_s = 0.0
        while silent_s < limit_s:
            await asyncio.sleep(WATCH_S)
            if self._memory_bytes() > MOST_MEMORY_BYTES:
                return f"it took more than {MOST_MEMORY_BYTES // 1_000_000} MB of memory"
            if await self.ask("state"):
                silent_s = 0.0
            else:
                silent_s += WATCH_S + ANSWER_S
        return f"it did not answer for {limit_s:g} seconds"

    def _memory_bytes(self) -> int:
        """What it has resident (proc(5), statm)."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except OSError:
            return 0  # it has just ended
        return int(pages) * resource.getpagesize()

    async def state(self) -> dict[str, Any]:
        """Return what it tells of itself for `/readyz`."""
        return next((piece["state"] for piece in await self.ask("state")), {})

    async def samples(self) -> list[Piece]:
        """Return its metrics."""
        return [piece["samples"] for piece in await self.ask("samples")]

    def note_end(self, status: int) -> None:
        """It has ended."""
        if not self.ended.done():
            self.ended.set_result(status)
        self._channel.close()
        self._on_change()

    def _hear(self, message: Message, descriptors: list[int]) -> None:
        for one in descriptors:
            os.close(one)
        if "answer" in message:
            asked = self._asked.get(message["answer"])
            if asked is not None:
                answer, pieces = asked
                pieces.append(message)
                if message["last"] and not answer.done():
                    answer.set_result(pieces)
        elif message["say"] == "open":
            self.opened.set()
            self._on_change()
        elif message["say"] == "ready":
            self.ready = message["ready"]
        elif (
            message["say"] == "done"
            and self.run == (UUID(message["execution"]), message["epoch"])
            and self._done is not None
            and not self._done.done()
        ):
            self._done.set_result(None)
