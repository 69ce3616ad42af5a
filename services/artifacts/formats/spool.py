"""A growing file: one side appends what arrives, the other reads it from the start as often as it needs to."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Condition

CHUNK_BYTES = 1024 * 1024
"""How much is read at once, in bytes."""

LOOK_EVERY_S = 0.1
"""How often a reader that waits for the writer says so, in seconds."""

Waiting = Callable[[float], None]
"""Hears how long a reader has just waited for bytes, in seconds; may raise."""


class Spool:
    """The writer's side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of everything appended so far."""
        return self._hash.hexdigest()

    def append(self, data: bytes) -> None:
        """Add bytes; blocks for the disk."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        self.size += len(data)

    def close(self) -> None:
        """Nothing more will come."""
        self._file.close()


class GrowingFile:
    """The reader's side, which is told how far the file has grown. Readers block until there is more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0
        self._changed = Condition()
        self._ended = False

    def grow(self, size: int) -> None:
        """So many bytes are there."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_complete(self, waiting: Waiting) -> None:
        """Block until everything has arrived; raises what `waiting` raises."""
        with self._changed:
            while not self._ended:
                self._wait(waiting)

    def chunks(self, waiting: Waiting) -> Iterator[bytes]:
        """The bytes from the start, as they arrive; raises what `waiting` raises."""
        position = 0
        with self.path.open("rb", buffering=0) as file:
            while self._wait_beyond(position, waiting):
                data = file.read(min(CHUNK_BYTES, self._size - position))
                position += len(data)
                yield data

    def _wait_beyond(self, position: int, waiting: Waiting) -> bool:
        """Wait for bytes after `position`; returns whether there are any."""
        with self._changed:
            while self._size <= position and not self._ended:
                self._wait(waiting)
            return self._size > position

    def _wait(self, waiting: Waiting) -> None:
        began = time.monotonic()
        self._changed.wait(LOOK_EVERY_S)
        waiting(time.monotonic() - began)
