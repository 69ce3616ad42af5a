"""Files on their way to artifacts: gathered one after the other on disk, each with its path, size and hash."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from shared import disk
from shared.contracts.notebooks import FileReference
from shared.errors import TooLarge
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES, MAX_FILES_BYTES

BATCH_BYTES = 1024 * 1024
"""Written to disk, and read back, at a time, in bytes."""


@dataclass(frozen=True, kw_only=True)
class StagedFile:
    """A file that lies whole in the staging area."""

    path: str
    sha256: str
    size: int
    offset: int

    def reference(self) -> FileReference:
        """Return the file by its content."""
        return FileReference(path=self.path, sha256=self.sha256, size_bytes=self.size)


class Staging:
    """One temporary file without a name, which is gone when the process is, that holds file after file. Every call
    raises Unavailable where the disk is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._batch = bytearray()
        self._written = 0
        self._begun: tuple[str, int] = ("", 0)
        self._hash = hashlib.sha256()
        self.files: list[StagedFile] = []

    async def __aenter__(self) -> Self:
        self._file = await disk.in_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._file is not None:
            await disk.in_thread(self._file.close)

    @property
    def total(self) -> int:
        """What has been taken in, in bytes."""
        return self._written + len(self._batch)

    def begin(self, path: str) -> None:
        """Begin the next file. Raises TooLarge when there are too many."""
        if len(self.files) >= MAX_FILES:
            raise TooLarge(f"A notebook has at most {MAX_FILES:,} files; these are more.")
        self._begun, self._hash = (path, self.total), hashlib.sha256()

    async def add(self, piece: bytes) -> None:
        """Take in more of the file that was begun. Raises TooLarge as soon as it, or all together, are over a limit."""
        path, offset = self._begun
        if self.total + len(piece) - offset > MAX_FILE_BYTES:
            raise TooLarge(f"A file has at most {MAX_FILE_BYTES:,} bytes; {path} has more.")
        if self.total + len(piece) > MAX_FILES_BYTES:
            raise TooLarge(f"The files of a notebook have at most {MAX_FILES_BYTES:,} bytes together; these have more.")
        self._hash.update(piece)
        self._batch += piece
        if len(self._batch) >= BATCH_BYTES:
            await self.flush()

    def end(self) -> StagedFile:
        """End the file that was begun; returns it."""
        path, offset = self._begun
        file = StagedFile(path=path, sha256=self._hash.hexdigest(), size=self.total - offset, offset=offset)
        self.files.append(file)
        return file

    def take_out(self, file: StagedFile) -> None:
        """Forget a file, which is for somebody else."""
        self.files.remove(file)

    async def pieces(self, file: StagedFile) -> AsyncIterator[bytes]:
        """Yield the bytes of a file; several may be read at once, after `flush`."""
        position, end = file.offset, file.offset + file.size
        while position < end:
            piece = await disk.in_thread(self._read, position, min(BATCH_BYTES, end - position))
            if not piece:
                raise RuntimeError("the staging area is shorter than what was put into it")
            position += len(piece)
            yield piece

    async def whole(self, file: StagedFile) -> bytes:
        """Return the bytes of a file."""
        await self.flush()
        return b"".join([piece async for piece in self.pieces(file)])

    async def flush(self) -> None:
        """Write down what was taken in."""
        batch, self._batch = bytes(self._batch), bytearray()
        self._written += len(batch)
        if batch:
            await disk.in_thread(self._write, batch, self._written - len(batch))

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(buffering=0, dir=self._folder)

    def _write(self, batch: bytes, position: int) -> None:
        view = memoryview(batch)
        while view:
            written = os.pwrite(self._descriptor, view, position)
            view, position = view[written:], position + written

    def _read(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, position)

    @property
    def _descriptor(self) -> int:
        if self._file is None:
            raise RuntimeError("the staging area is not open")
        return self._file.fileno()
