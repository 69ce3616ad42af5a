"""Archives that clients send: taken apart by a process of its own with little memory, a few at a time."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from services.gateway.staging import StagedFile, Staging
from shared import apart, disk
from shared.errors import Fault, Invalid, TooLarge
from shared.file_limits import MAX_FILES_BYTES

ARCHIVE_BYTES = MAX_FILES_BYTES + 60_000_000
"""Largest archive, in bytes: a notebook, and files that do not shrink."""

AT_ONCE = 2
"""Archives that are taken apart at a time: each keeps a processor busy for a second or two."""

MEMORY_BYTES = 192 * 1024 * 1024
"""Most that the process may allocate, in bytes: the table of contents of a harmless archive is far below."""

UNPACK_S = 120.0
"""Most time that an archive may take, in seconds; 200 MB take two on a machine that does nothing else."""

PROGRAM = "services.gateway.unzip_program"

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
"""How zip archives begin: with a file, empty, or as a part of several."""

HEADER = 5
"""Bytes of a frame before its content: a letter and a length."""


@dataclass
class Unpacked:
    """What an archive held, beside the files that are in the staging area now."""

    notebook: StagedFile | None = None
    warnings: list[str] = field(default_factory=list)


class Archives:
    """The gateway's way to take archives apart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def unpack(self, pieces: AsyncIterator[bytes], staging: Staging, *, with_notebook: bool) -> Unpacked:
        """Put the files of the zip that `pieces` are into the staging area; `with_notebook`, the one notebook in it is
        told apart. Raises Invalid, TooLarge, Unavailable."""
        file = await disk.in_thread(self._open)
        try:
            size = 0
            async for piece in pieces:
                size += len(piece)
                if size > ARCHIVE_BYTES:
                    raise TooLarge(f"An archive has at most {ARCHIVE_BYTES:,} bytes; this one has more.")
                await disk.in_thread(file.write, piece)
            await disk.in_thread(file.flush)
            async with self._turn:
                return await self._unpacked(file.fileno(), staging, with_notebook=with_notebook)
        finally:
            await disk.in_thread(file.close)

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self._folder)

    async def _unpacked(self, descriptor: int, staging: Staging, *, with_notebook: bool) -> Unpacked:
        os.lseek(descriptor, 0, os.SEEK_SET)
        found = Unpacked()
        question = {"descriptor": descriptor, "notebook": with_notebook}
        try:
            async with (
                asyncio.timeout(UNPACK_S),
                apart.asked(
                    PROGRAM,
                    question,
                    scratch=self._folder,
                    memory_bytes=MEMORY_BYTES,
                    descriptors=(descriptor,),
                ) as output,
            ):
                async for kind, content in _frames(output):
                    await _take(kind, content, staging, found, with_notebook=with_notebook)
        except TimeoutError as error:
            raise _refusal("takes too long to unpack") from error
        except apart.Ended as error:
            raise _refusal(f"cannot be unpacked: {error}") from error
        return found


async def _take(kind: bytes, content: bytes, staging: Staging, found: Unpacked, *, with_notebook: bool) -> None:
    if kind == b"F":
        staging.begin(content.decode())
    elif kind == b"D":
        await staging.add(content)
    elif kind == b"E":
        file = staging.end()
        if with_notebook and found.notebook is None:
            found.notebook = file
            staging.take_out(file)
    elif kind == b"W":
        found.warnings = orjson.loads(content)
    else:
        said = orjson.loads(content)
        faults = [Fault(path=path, message=message) for path, message in said["faults"]]
        sentence = f"{faults[0].path} {faults[0].message}."
        if said["tooLarge"]:
            raise TooLarge(sentence, faults=faults)
        raise Invalid(sentence, faults=faults)


async def _frames(output: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield kind and content of each frame. The program's pieces are small, so little is held here."""
    waiting = bytearray()
    async for piece in output:
        waiting += piece
        while len(waiting) >= HEADER and len(waiting) >= (end := HEADER + int.from_bytes(waiting[1:HEADER])):
            yield bytes(waiting[:1]), bytes(waiting[HEADER:end])
            del waiting[:end]


def _refusal(message: str) -> Invalid:
    return Invalid(f"The archive {message}.", faults=[Fault(path="file", message=message)])
