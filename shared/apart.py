"""Runs a module in a process of its own, at low priority and with little memory: for files that strangers made.

A Parquet file of a few hundred bytes can hold values without end, and what reads it is not written for enemies. What it
does to such a process it does to nobody else. The module's `answer` is asked one thing, and answers piece by piece:
bytes as they are, all else in lines of JSON. What else it says goes to the log of the service.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import resource
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from shared import without_pandas

MEMORY_BYTES = 768 * 1024 * 1024
"""Most that the process may allocate, in bytes. Reading any table of ours takes a third of it."""

PROCESSOR_S = 3_600
"""Most processor time that it may use, in seconds."""

NICENESS = 5
"""How far it steps back behind others."""

PIECE_BYTES = 256 * 1024
"""How much of its output is passed on at once, in bytes."""

ROOT = Path(__file__).resolve().parents[1]
"""Where the project's packages are imported from."""

OUT_OF_MEMORY = 70
"""Exit status of a process that could not have the memory it wanted."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME, _NAME_BYTES = 15, 15
_MEGABYTE = 1024 * 1024


class Ended(Exception):
    """The process ended before it was done; the message says why, in words for whoever made the file."""


def ask(module: str, question: Any, *, scratch: Path, memory_bytes: int = MEMORY_BYTES) -> Iterator[Any]:
    """The answers, as they come. Blocks; raises Ended. `scratch` is a folder for temporary files."""
    command = _command(module, question, memory_bytes)
    with subprocess.Popen(
        command,
        env=_environment(scratch),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as child:
        try:
            yield from map(orjson.loads, child.stdout or ())
            status = child.wait()
        finally:
            child.kill()  # where nobody listens any more; else it is gone
    _check(status, memory_bytes)


@asynccontextmanager
async def asked(
    module: str, question: Any, *, scratch: Path, memory_bytes: int = MEMORY_BYTES, descriptors: Sequence[int] = ()
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The output, piece by piece; reading it raises Ended. The process gets the `descriptors`, and ends with the
    context."""
    child = await asyncio.create_subprocess_exec(
        *_command(module, question, memory_bytes),
        env=_environment(scratch),
        stdin=DEVNULL,
        stdout=PIPE,
        pass_fds=descriptors,
    )
    try:
        yield _pieces(child, memory_bytes)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _pieces(child: asyncio.subprocess.Process, memory_bytes: int) -> AsyncIterator[bytes]:
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    while piece := await child.stdout.read(PIECE_BYTES):
        yield piece
    _check(await child.wait(), memory_bytes)


def _command(module: str, question: Any, memory_bytes: int) -> list[str]:
    return [sys.executable, "-m", __name__, module, str(memory_bytes), orjson.dumps(question).decode()]


def environment() -> dict[str, str]:
    """The environment of a child; no credential is among it."""
    return {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def _environment(scratch: Path) -> dict[str, str]:
    return {**environment(), "TMPDIR": str(scratch)}


def _check(status: int, memory_bytes: int) -> None:
    if status == 0:
        return
    needs = f"its values need more than {memory_bytes // _MEGABYTE} MB of memory at once"
    if status == OUT_OF_MEMORY:
        raise Ended(needs)
    if status == -signal.SIGXCPU:
        raise Ended(f"reading it takes more than {PROCESSOR_S // 60} minutes")
    raise Ended(f"it is damaged, or {needs}")


def confine(memory_bytes: int) -> None:
    """This process, from now on, steps back, ends with the one that started it, and gets no more memory than that."""
    end_with_parent()
    os.nice(NICENESS)
    limit(memory_bytes=memory_bytes, processor_s=PROCESSOR_S)


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def name_process(name: str) -> None:
    """Have tools such as `ps` and `top` show this process under a name of up to 15 bytes (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES], 0, 0, 0)


def limit(*, memory_bytes: int, processor_s: int) -> None:
    """Limit this process's memory in bytes and its processor time in seconds, and have it leave no core behind."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 1))  # SIGXCPU first: it tells why
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """What the process does."""
    module, memory_bytes, question = sys.argv[1:]
    confine(int(memory_bytes))
    without_pandas.install()
    try:
        for piece in importlib.import_module(module).answer(orjson.loads(question)):
            sys.stdout.buffer.write(piece if isinstance(piece, bytes) else orjson.dumps(piece) + b"\n")
            sys.stdout.buffer.flush()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    os._exit(0)  # without the ends of threads, which may want memory, too


if __name__ == "__main__":
    main()
