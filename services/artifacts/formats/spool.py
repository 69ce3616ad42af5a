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


def _say_nothing(_seconds: float) -> None:
    """Nobody wants to know."""


class SpoolAborted(Exception):
    """The sender went away; nobody will read the result."""


class Spool:
    """Bytes on their way in. `append`, `finish` and `abort` belong to the writer; readers block until there is more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._changed = Condition()
        self._ended = False
        self._aborted = False

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
        with self._changed:
            self.size += len(data)
            self._changed.notify_all()

    def finish(self) -> None:
        """Nothing more will come."""
        self._end(aborted=False)

    def abort(self) -> None:
        """Nothing more will come and readers should stop."""
        self._end(aborted=True)

    def check(self) -> None:
        """Raise SpoolAborted when nobody waits for the result any more."""
        if self._aborted:
            raise SpoolAborted

    def wait_complete(self, waiting: Waiting = _say_nothing) -> None:
        """Block until everything has arrived; raises SpoolAborted and what `waiting` raises."""
        with self._changed:
            while not self._ended:
                self._wait(waiting)
            if self._aborted:
                raise SpoolAborted

    def chunks(self, waiting: Waiting = _say_nothing) -> Iterator[bytes]:
        """The bytes from the start, as they arrive; raises SpoolAborted and what `waiting` raises."""
        position = 0
        with self.path.open("rb", buffering=0) as file:
            while self._wait_beyond(position, waiting):
                data = file.read(min(CHUNK_BYTES, self.size - position))
                position += len(data)
                yield data

    def _wait_beyond(self, position: int, waiting: Waiting) -> bool:
        """Wait for bytes after `position`; returns whether there are any."""
        with self._changed:
            while self.size <= position and not self._ended:
                self._wait(waiting)
            if self._aborted:
                raise SpoolAborted
            return self.size > position

    def _wait(self, waiting: Waiting) -> None:
        began = time.monotonic()
        self._changed.wait(LOOK_EVERY_S)
        waiting(time.monotonic() - began)

    def _end(self, *, aborted: bool) -> None:
        with self._changed:
            self._ended = True
            self._aborted = self._aborted or aborted
            self._changed.notify_all()
        self._file.close()
