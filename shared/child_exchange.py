"""Exchange of a service with a child process: limits, errors, one answer, or a conversation while the child works."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared import apart, child_template, replies
from shared.errors import Unavailable

AWAY = "This cannot be worked on at the moment; try again shortly."
TEMPLATE_GONE = -1_000
"""In place of the status of a child whose template ended: nobody could tell it."""

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one piece of work may cost."""

    processor_s: int = 5
    wall_s: float = 8.0
    memory_bytes: int = 512 * _MEGABYTE
    output_bytes: int = 64 * _MEGABYTE
    niceness: int = apart.NICENESS


class TooCostly(Exception):
    """The work went over a limit; the message says which, as the end of a sentence about the text."""


class OutOfTime(TooCostly):
    """The time by the clock was over before any other limit: the work may be costly, or the machine busy."""


class OutOfProcessorTime(TooCostly):
    """The work took more processor time than it may."""


class ChildFailed(Exception):
    """The process ended without an answer and within its limits; the log has its last words."""


class Conversation:
    """One side of a talk with a child process, which is sent its `argument`."""

    def __init__(
        self,
        status: asyncio.Future[int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: Limits,
        argument: bytes,
    ) -> None:
        self._status, self._reader, self._writer, self._limits = status, reader, writer, limits
        self.answer: bytes | None = None
        writer.write(len(argument).to_bytes(8))
        writer.write(argument)

    def say(self, line: bytes) -> None:
        """Send a short line; to a child that has ended it goes nowhere."""
        self._writer.write(line + b"\n")

    async def news(self) -> AsyncIterator[bytes]:
        """Iterate over the news until the answer, which is then in `answer`. Raises as `ChildPool.call`."""
        while self.answer is None:
            try:
                await self._writer.drain()
                kind, said = await _heard(self._reader, self._limits)
            except (OSError, asyncio.IncompleteReadError) as error:
                # It ended before its answer: its status tells why.
                raise _reason(await self._status, self._limits) from error
            if kind == child_template.NEWS:
                yield said
            else:
                self.answer = _answer(kind, said)

    async def only_answer(self) -> bytes:
        """Return the answer of a child that tells no news. Raises as `ChildPool.call`."""
        async for _ in self.news():
            continue
        assert self.answer is not None  # noqa: S101 - the news have ended
        return self.answer


async def _heard(reader: asyncio.StreamReader, limits: Limits) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    size = int.from_bytes(await reader.readexactly(8))
    if size > limits.output_bytes:
        raise TooCostly(f"comes to more than {limits.output_bytes // _MEGABYTE} MB")
    return kind, await reader.readexactly(size)


def _answer(kind: bytes, said: bytes) -> bytes:
    if kind == child_template.ERROR:
        replies.decode(said).raise_error()
    if kind != child_template.ANSWER:
        raise ChildFailed(said.decode())
    return said


def _reason(status: int, limits: Limits) -> Exception:
    """Why a process ended without an answer, by its wait status as `os.waitstatus_to_exitcode` has it."""
    if status == TEMPLATE_GONE:  # no fault of this work
        return Unavailable(AWAY)
    if status in (apart.OUT_OF_MEMORY, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT):
        return TooCostly(f"needs more than {limits.memory_bytes // _MEGABYTE} MB of memory")
    if status == -signal.SIGXCPU:
        return OutOfProcessorTime(f"takes more than {limits.processor_s} s of processor time")
    return ChildFailed(f"the process ended with status {status}")
