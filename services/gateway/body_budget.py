"""Memory that request bodies may take at a time: a budget in bytes for the process, and a share of it for a tenant."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from shared.errors import Unavailable

FREE_BYTES = 256 * 1024
"""Bodies up to this size are not counted, in bytes: there are as many as there are connections, and they are small."""

TENANT_SHARE = 0.5
"""The part of the budget that one tenant may take."""

WAIT_S = 5.0
"""How long a request waits for its part of the budget before it is refused, in seconds."""


class BodyBudget:
    """Hands out the budget, first come, first served within what each tenant may take."""

    def __init__(self, total_bytes: int, *, wait_s: float = WAIT_S) -> None:
        self._total, self._wait_s = total_bytes, wait_s
        self._taken: Counter[UUID] = Counter()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, tenant_id: UUID, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes within the context; one body alone may always have its bytes. Raises Unavailable when they
        are not free in time."""
        if size <= FREE_BYTES:
            yield
            return
        try:
            async with asyncio.timeout(self._wait_s), self._freed:
                await self._freed.wait_for(lambda: self._fits(tenant_id, size))
                self._taken[tenant_id] += size
        except TimeoutError as error:
            raise Unavailable(
                "Too many large request bodies are being read at once; try again shortly. The request had no effect."
            ) from error
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
