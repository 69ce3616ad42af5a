"""Writers of one notebook wait for one another here, before they take a database connection.

The row's lock decides between replicas. Without this, a hundred writers of one notebook would each hold a connection
while they wait for that lock, and the whole pool would stand still for one notebook's sake.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID
from weakref import WeakValueDictionary

from shared.errors import DeadlineExceeded


class Turns:
    """A lock a notebook, for as long as somebody wants it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, notebook_id: UUID, deadline: datetime | None) -> AsyncIterator[None]:
        """Hold the notebook's turn. Raises DeadlineExceeded when it does not come in time."""
        lock = self._locks.setdefault(notebook_id, asyncio.Lock())
        left = (deadline - datetime.now(UTC)).total_seconds() if deadline else None
        try:
            async with asyncio.timeout(left):
                await lock.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded("Too many others are changing this notebook; nothing was done.") from error
        try:
            yield
        finally:
            lock.release()
