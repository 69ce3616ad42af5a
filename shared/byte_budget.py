"""Memory that large things may take at a time: a budget in bytes for the process, and a share of it for each tenant."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from shared.errors import Unavailable

TENANT_SHARE = 0.5
"""The part of a budget that one tenant may take."""


class ByteBudget:
    """Hands out the budget, first come, first served within what each tenant may take. Things of up to `free_bytes`
    are not counted; who waits longer than `wait_s` seconds is refused with the sentence `refusal`."""

    def __init__(self, total_bytes: int, *, free_bytes: int, wait_s: float, refusal: str) -> None:
        self._total, self._free, self._wait_s, self._refusal = total_bytes, free_bytes, wait_s, refusal
        self._taken: Counter[UUID] = Counter()
        self._freed = asyncio.Condition()

    def is_free(self, size: int) -> bool:
        """Whether a thing of `size` bytes is not counted."""
        return size <= self._free

    @asynccontextmanager
    async def reserve(self, tenant_id: UUID, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes within the context; one thing alone may always have its bytes. Raises Unavailable when they
        are not free in time."""
        if self.is_free(size):
            yield
            return
        try:
            async with asyncio.timeout(self._wait_s), self._freed:
                await self._freed.wait_for(lambda: self._fits(tenant_id, size))
                self._taken[tenant_id] += size
        except TimeoutError as error:
            raise Unavailable(self._refusal) from error
        try:
            yield
        finally:
            self._taken[tenant_id] -= size
            if not self._taken[tenant_id]:
                del self._taken[tenant_id]
            async with self._freed:
                self._freed.notify_all()

    def _fits(self, tenant_id: UUID, size: int) -> bool:
        mine = self._taken[tenant_id]
        if not mine:
            del self._taken[tenant_id]
        within_share = not mine or mine + size <= self._total * TENANT_SHARE
        return within_share and (not self._taken or self._taken.total() + size <= self._total)
