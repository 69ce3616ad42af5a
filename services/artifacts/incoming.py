"""The body of an upload as it comes in: pauses are told, silence has an end, and what is large waits on the disk."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import StreamReader

from services.artifacts.formats.refusal import FILE_FIELD
from services.artifacts.model import BINARY_TYPE
from shared import disk
from shared.errors import Fault, Invalid, TooLarge
from shared.objects import ObjectStore

IN_MEMORY_BYTES = 1024 * 1024
"""A body up to this size does not go by way of the disk, in bytes."""

PAUSE_S = 0.05
"""A sender who sends nothing for so long pauses, in seconds: what has come by then is no longer gathered."""

LATER_S = 5.0
"""How much longer the gateway's sender may be silent than a client of the gateway, in seconds: it tells the client."""


async def pieces_of(body: StreamReader, *, silence_s: float) -> AsyncIterator[bytes]:
    """The bytes as they come; an empty piece when the sender pauses. Raises Invalid when nothing comes for so long."""
    patience = PAUSE_S
    while not body.at_eof():
        try:
            async with asyncio.timeout(patience):
                piece = await body.readany()
        except TimeoutError as error:
            if patience != PAUSE_S:
                raise _silent(silence_s) from error
            patience = silence_s + LATER_S
            yield b""
        else:
            patience = PAUSE_S
            yield piece


def _silent(seconds: float) -> Invalid:
    sentence = f"The upload stopped: nothing came for {seconds:g} seconds. Send it again."
    return Invalid(sentence, faults=[Fault(path=FILE_FIELD, message=sentence)])


class Spooled:
    """The bytes that came so far: in memory as long as they are few, else in a file at `path`; `most` bytes at most."""

    def __init__(self, path: Path, *, most: int) -> None:
        self._path, self._most = path, most
        self._hash = hashlib.sha256()
        self._waiting = bytearray()
        self._in_file = False
        self.size = 0

    @property
    def sha256(self) -> str:
        """The hash of what came, in hexadecimal."""
        return self._hash.hexdigest()

    async def add(self, piece: bytes) -> None:
        """Take in what comes next. Raises TooLarge, and Unavailable where the disk is full."""
        self.size += len(piece)
        if self.size > self._most:
            raise TooLarge(f"A file has at most {self._most:,} bytes.")
        self._hash.update(piece)
        self._waiting += piece
        if len(self._waiting) > IN_MEMORY_BYTES:
            await self._write()

    async def flush(self) -> None:
        """Write down the rest, where there is a file."""
        if self._in_file:
            await self._write()

    async def store(self, objects: ObjectStore, key: str) -> None:
        """Make an object of it, after the last flush. Raises Unavailable."""
        if self._in_file:
            await objects.put_file(key, self._path, BINARY_TYPE)
        else:
            await objects.put(key, bytes(self._waiting), BINARY_TYPE)

    async def _write(self) -> None:
        self._in_file = True
        batch, self._waiting = bytes(self._waiting), bytearray()
        await disk.in_thread(_append, self._path, batch)


def _append(path: Path, batch: bytes) -> None:
    with path.open("ab") as file:
        file.write(batch)
