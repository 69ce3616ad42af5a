"""A file on its way to artifacts: streamed on while it comes in, and kept on disk in case it has to be sent anew."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Self

from shared import disk

BATCH_BYTES = 1024 * 1024
"""Written to disk at a time, in bytes, so that a thread is asked rarely."""

READ_BYTES = 1024 * 1024
"""Read back at a time, in bytes."""

AHEAD = 8
"""Pieces that may wait for artifacts to take them; the client is held back beyond that."""


class Spool:
    """A temporary file without a name: it is gone when the process is, however that ends. Every call raises Unavailable
    where the disk is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._batch = bytearray()

    async def __aenter__(self) -> Self:
        self._file = await disk.in_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._file is not None:
            await disk.in_thread(self._file.close)

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(buffering=0, dir=self._folder)

    async def add(self, piece: bytes) -> None:
        """Append `piece`."""
        self._batch += piece
        if len(self._batch) >= BATCH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write down what was added."""
        batch, self._batch = bytes(self._batch), bytearray()
        if batch:
            await disk.in_thread(self._write, batch)

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, from the beginning."""
        await self.flush()
        position = 0
        while piece := await disk.in_thread(self._read, position):
            position += len(piece)
            yield piece

    def _write(self, batch: bytes) -> None:
        if self._file is not None:
            self._file.seek(0, 2)
            view = memoryview(batch)
            while view:
                view = view[self._file.write(view) :]

    def _read(self, position: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(position)
        return self._file.read(READ_BYTES)


class Held:
    """Pieces handed to a reader as they come, with the end held back until somebody allows it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=AHEAD)

    async def put(self, piece: bytes) -> None:
        """Hand over `piece`; waits while the reader is behind."""
        await self._queue.put(piece)

    async def end(self) -> None:
        """Let the reader come to the end."""
        await self._queue.put(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is handed over, until the end is allowed."""
        while (piece := await self._queue.get()) is not None:
            yield piece
