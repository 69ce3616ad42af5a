"""Locks between the processes of a machine, in files of a folder that they share (flock(2))."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

POLL_S = 0.05
"""How often a lock is tried that another holds, in seconds."""


def at_once(path: Path, kind: int) -> int | None:
    """Return a descriptor that holds the lock until it is closed; None when another process has it, or has just removed
    its file. `kind` is `fcntl.LOCK_EX` or `LOCK_SH`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        is_there = os.fstat(descriptor).st_nlink > 0
    except BlockingIOError:
        is_there = False
    if not is_there:
        os.close(descriptor)
        return None
    return descriptor


async def acquired(path: Path, kind: int) -> int:
    """Return a descriptor that holds the lock, when no other process does any more."""
    while (descriptor := at_once(path, kind)) is None:
        await asyncio.sleep(POLL_S)
    return descriptor


@asynccontextmanager
async def alone(path: Path) -> AsyncIterator[None]:
    """Hold the lock, and remove its file afterwards."""
    descriptor = await acquired(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        os.close(descriptor)
