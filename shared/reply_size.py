"""How large the replies are that one request of a client is answered from: work on large ones leaves the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

IN_LOOP_BYTES = 64 * 1024
"""Up to this size JSON is read and written in the event loop, in bytes: it takes a millisecond."""

T = TypeVar("T")


@dataclass
class _Largest:
    size: int = 0


_largest: ContextVar[_Largest | None] = ContextVar("largest_reply", default=None)


@contextmanager
def measured() -> Iterator[None]:
    """Within the context, replies are measured, also those that tasks begun in it wait for."""
    token = _largest.set(_Largest())
    try:
        yield
    finally:
        _largest.reset(token)


def note(size: int) -> None:
    """A reply of `size` bytes has come."""
    largest = _largest.get()
    if largest is not None:
        largest.size = max(largest.size, size)


async def off_loop(work: Callable[[], T]) -> T:
    """Do work on replies: in a thread when one of them is large."""
    largest = _largest.get()
    if largest is None or largest.size <= IN_LOOP_BYTES:
        return work()
    return await asyncio.to_thread(work)
