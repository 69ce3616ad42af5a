"""A stored object as a file to read from in a thread: by ranges, so that nobody waits for all of it."""

from __future__ import annotations

import asyncio
import io

from shared.objects import ObjectStore


class RemoteFile(io.RawIOBase):
    """Reads at least `ahead` bytes at once: a request costs more than some that are not needed. Raises NotFound or
    Unavailable. Its readers are threads that may wait for the store, and never the event loop's own."""

    def __init__(self, objects: ObjectStore, key: str, size: int, *, ahead: int) -> None:
        self._objects, self._key, self._size, self._ahead = objects, key, size, ahead
        self._loop = asyncio.get_running_loop()
        self._position = 0
        self._held, self._held_from = b"", 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, fewer only at the end; blocks for the store."""
        end = self._size if size is None or size < 0 else min(self._size, self._position + size)
        if self._position >= end:
            return b""
        if not (self._held_from <= self._position and end <= self._held_from + len(self._held)):
            length = min(max(end - self._position, self._ahead), self._size - self._position)
            fetch = self._objects.get_range(self._key, self._position, length)
            self._held = asyncio.run_coroutine_threadsafe(fetch, self._loop).result()
            self._held_from = self._position
        start = self._position - self._held_from
        piece = self._held[start : start + end - self._position]
        self._position += len(piece)
        return piece
