"""The local disk as a dependency: a step runs in a thread to its end, and a full disk is Unavailable."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import structlog

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system says when there is no room, or no more for this user."""

RETRY_AFTER_S = 30
"""When to try again, in seconds: room comes back when other transfers end, or when somebody makes some."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def with_room() -> Iterator[None]:
    """Raises Unavailable where the disk is full; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        log.error("the disk is full", file=error.filename)
        raise Unavailable(
            "There is no room left on the server's disk; try again later.", extra={"retryAfter": RETRY_AFTER_S}
        ) from error


async def to_its_end(doing: asyncio.Future[T]) -> T:
    """What a thread returns. It is waited for even when this is cancelled: nobody may close or remove what it still
    works on."""
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        if not doing.cancelled():
            doing.exception()  # seen: there is nobody left to tell
        raise


async def in_thread(step: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a blocking step returns, as `to_its_end`. Raises Unavailable where the disk is full."""
    with with_room():
        return await to_its_end(asyncio.ensure_future(asyncio.to_thread(step, *arguments, **named)))
