"""Keeps a few kernels ready, each for one run; makes new ones off the critical path."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Gauge

from services.executor.kernels import available
from services.executor.kernels.port import KernelStartError

if TYPE_CHECKING:
    from services.executor.kernels.forked_kernel import ForkedKernel

log = structlog.get_logger(__name__)

BREATH_S = 0.2
"""How long a run that has just taken a kernel has the processors to itself before the next one is made, in seconds."""

RETRY_S = 5.0
"""Pause after a kernel that did not start, in seconds."""

MEMORY_FLOOR_BYTES = 512 * 1024 * 1024
"""Below this much available memory no kernel is made in advance."""

READY = Gauge("atelier_kernel_pool_ready", "Kernels that are ready and wait for a run", ["kernel"])
SIZE = Gauge("atelier_kernel_pool_size", "Kernels that are to be kept ready", ["kernel"])


class Pool:
    """Ready kernels, oldest first; `kernel` names their kind in metrics, `on_change` hears how many there are."""

    def __init__(
        self,
        make: Callable[[], Awaitable[ForkedKernel]],
        size: int,
        *,
        kernel: str = "python3",
        on_change: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._make = make
        self._size = size
        self._ready = READY.labels(kernel=kernel)
        self._wanted = SIZE.labels(kernel=kernel)
        self._on_change = on_change
        self._spares: deque[ForkedKernel] = deque()
        self._short = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._taken_at = -BREATH_S

    @property
    def ready(self) -> int:
        """How many kernels wait."""
        return len(self._spares)

    def start(self) -> None:
        """Begin to fill."""
        self._wanted.inc(self._size)
        if self._size:
            self._short.set()
            self._filling = asyncio.create_task(self._fill())

    async def stop(self) -> None:
        """End the kernels that wait."""
        if self._filling is not None:
            self._wanted.dec(self._size)
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        await self.drop_all()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def take(self) -> ForkedKernel | None:
        """A ready kernel, or None when there is none."""
        self._taken_at = asyncio.get_running_loop().time()
        try:
            while self._spares:
                kernel = self._spares.popleft()
                self._ready.dec()
                if not kernel.exited.done():
                    return kernel
                self._discard(kernel)
            return None
        finally:
            self._short.set()
            self._on_change(self.ready)

    async def drop_all(self) -> None:
        """Let no kernel made so far be used any more."""
        self._generation += 1
        while self._spares:
            self._ready.dec()
            self._discard(self._spares.popleft())
        self._short.set()
        self._on_change(self.ready)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _discard(self, kernel: ForkedKernel) -> None:
        async def end() -> None:
            await kernel.close()
            await asyncio.to_thread(shutil.rmtree, kernel.run_dir, ignore_errors=True)

        task = asyncio.create_task(end())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _fill(self) -> None:
        while True:
            await self._short.wait()
            self._short.clear()
            for dead in [kernel for kernel in self._spares if kernel.exited.done()]:
                self._spares.remove(dead)
                self._ready.dec()
                self._discard(dead)
                self._on_change(self.ready)
            await asyncio.sleep(max(0.0, self._taken_at + BREATH_S - asyncio.get_running_loop().time()))
            while len(self._spares) < self._size and available.memory_bytes() > MEMORY_FLOOR_BYTES:
                generation = self._generation
                try:
                    kernel = await self._make()
                except Exception as error:
                    # Whatever it was: a pool that gave up would have every run wait for a kernel from now on.
                    unforeseen = not isinstance(error, KernelStartError | OSError)
                    log.warning("no kernel could be made ready", reason=str(error), exc_info=unforeseen)
                    await asyncio.sleep(RETRY_S)
                    continue
                if generation != self._generation:
                    self._discard(kernel)
                    continue
                kernel.exited.add_done_callback(lambda _: self._short.set())
                self._spares.append(kernel)
                self._ready.inc()
                self._on_change(self.ready)
