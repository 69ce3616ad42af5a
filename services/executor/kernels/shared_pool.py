"""Kernels of one origin that take long to start: a run takes a ready one, or else the next that becomes ready."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from services.executor.kernels import available
from services.executor.kernels.pool import MEMORY_FLOOR_BYTES, READY, RETRY_S, SIZE
from services.executor.kernels.port import KernelStartError
from services.executor.kernels.start_priority import StartPriority

if TYPE_CHECKING:
    from services.executor.kernels.forked_kernel import ForkedKernel

log = structlog.get_logger(__name__)

BREATH_S = 1.0
"""How long a run that has just got its kernel has the processors to itself before another is started in advance, in
seconds."""

WARM_UP_BEGINS_S = 5.0
"""How long after it is ready a kernel may begin to warm up, in seconds: before that it is not suspended."""

QUIET_S, QUIET_SHARE = 1.0, 0.1
"""A ready kernel is suspended after so many seconds in which it took less than this share of a processor: until then it
is still warming up."""

QUIET_MOST_S = 60.0
"""After so many seconds it is suspended, whatever it does."""

Make = Callable[[StartPriority], Awaitable["ForkedKernel"]]
"""Starts a kernel, in a folder of its own."""


class Starts:
    """Counts the starts under way in all pools of a worker: none is made in advance beside another."""

    def __init__(self) -> None:
        self.count = 0
        self._pools: set[SharedPool] = set()

    def join(self, pool: SharedPool) -> None:
        """Tell this pool when a start has come to its end."""
        self._pools.add(pool)

    def leave(self, pool: SharedPool) -> None:
        """Tell it no more."""
        self._pools.discard(pool)

    def end_one(self) -> None:
        """A start has come to its end."""
        self.count -= 1
        for pool in list(self._pools):
            pool.adjust()


class SharedPool:
    """See the module. For runs that wait as many kernels start at a time as there are processors for, each of which
    keeps `start_processors` busy; in advance one starts at a time, and only while no run waits. Ready ones are
    suspended: they cost memory and no processor time. `kernel` names their kind in metrics."""

    def __init__(self, make: Make, starts: Starts, *, kernel: str, start_processors: int = 1) -> None:
        self._make = make
        self._most_starts = max(1, (os.cpu_count() or 1) // start_processors)
        self._all_starts = starts
        self._size = 0
        self._ready_gauge, self._size_gauge = READY.labels(kernel=kernel), SIZE.labels(kernel=kernel)
        self._ready: dict[ForkedKernel, asyncio.Task[None]] = {}
        self._waiting: deque[asyncio.Future[ForkedKernel]] = deque()
        self._starts: dict[asyncio.Task[None], StartPriority] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._resting_until = 0.0
        self._stopped = False
        starts.join(self)

    @property
    def ready(self) -> int:
        """How many kernels wait for a run."""
        return len(self._ready)

    @property
    def size(self) -> int:
        """How many kernels are kept ready; with 0 none is started in advance."""
        return self._size

    @property
    def is_idle(self) -> bool:
        """Whether no run waits and nothing is under way."""
        return not (self._waiting or self._starts or self._tasks)

    def keep(self, size: int) -> None:
        """From now on keep so many kernels ready."""
        self._size_gauge.inc(size - self._size)
        self._size = size
        while len(self._ready) > size:
            self._discard(self._pop())
        self.adjust()

    async def take(self) -> tuple[ForkedKernel, bool]:
        """A kernel, and whether it was ready. Raises KernelStartError when the one that was started for this run did
        not start."""
        while self._ready:
            kernel = self._pop()
            if not kernel.exited.done():
                await kernel.resume()
                self._rest(BREATH_S)
                return kernel, True
            self._discard(kernel)
        waiting: asyncio.Future[ForkedKernel] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self.adjust()
        try:
            kernel = await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._deliver(waiting.result())  # it came at the same moment
            self.adjust()
            raise
        self._rest(BREATH_S)
        return kernel, False

    async def drop_all(self) -> None:
        """Let no kernel made so far be used any more."""
        self._generation += 1
        while self._ready:
            self._discard(self._pop())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.adjust()

    async def stop(self) -> None:
        """End ready and starting kernels; runs that wait are told that there will be none."""
        self._stopped = True
        self._all_starts.leave(self)
        self.keep(0)
        while (waiting := self._next_waiting()) is not None:
            waiting.set_exception(KernelStartError("the worker is being stopped"))
        for start in list(self._starts):
            start.cancel()
        await asyncio.gather(*self._starts, return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def adjust(self) -> None:
        """Have as many starts under way as are wanted, those for runs first."""
        waiting = sum(not one.done() for one in self._waiting)
        if waiting:
            wanted = most = min(waiting, self._most_starts)
        else:
            most = min(1, self._size - len(self._ready))
            wanted = most if self._may_start_in_advance() else 0
        if self._stopped:
            wanted = most = 0
        for start in list(self._starts)[max(most, 0) :]:
            start.cancel()
        while len(self._starts) < wanted:
            self._all_starts.count += 1
            priority = StartPriority(low=not waiting)
            start = asyncio.create_task(self._start(priority))
            self._starts[start] = priority
        if waiting:
            for priority in self._starts.values():
                priority.raise_to_usual()

    def _may_start_in_advance(self) -> bool:
        rested = asyncio.get_running_loop().time() >= self._resting_until
        return rested and self._all_starts.count == 0 and available.memory_bytes() > MEMORY_FLOOR_BYTES

    async def _start(self, priority: StartPriority) -> None:
        generation = self._generation
        try:
            kernel = await self._make(priority)
        except Exception as error:
            # Whatever it was: a pool that gave up would have every run wait for a kernel from now on.
            if (waiting := self._next_waiting()) is not None:
                waiting.set_exception(error)
            else:
                unforeseen = not isinstance(error, KernelStartError | OSError)
                log.warning("no kernel could be made ready", reason=str(error), exc_info=unforeseen)
                self._rest(RETRY_S)
        else:
            if generation == self._generation:
                self._deliver(kernel)
            else:
                self._discard(kernel)
        finally:
            own = asyncio.current_task()
            assert own is not None  # noqa: S101 - this is a task
            del self._starts[own]
            self._all_starts.end_one()

    def _deliver(self, kernel: ForkedKernel) -> None:
        """Give a kernel to the run that waits longest, else keep it if there is room."""
        if not (self._stopped or kernel.exited.done()):
            if (waiting := self._next_waiting()) is not None:
                waiting.set_result(kernel)
                return
            if len(self._ready) < self._size:
                kernel.exited.add_done_callback(lambda _: self._replace(kernel))
                self._ready[kernel] = asyncio.create_task(suspend_when_quiet(kernel))
                self._ready_gauge.inc()
                return
        self._discard(kernel)

    def _next_waiting(self) -> asyncio.Future[ForkedKernel] | None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                return waiting
        return None

    def _pop(self, kernel: ForkedKernel | None = None) -> ForkedKernel:
        """Take a ready kernel out: the oldest, or this one."""
        found = next(iter(self._ready)) if kernel is None else kernel
        self._ready.pop(found).cancel()
        self._ready_gauge.dec()
        return found

    def _replace(self, kernel: ForkedKernel) -> None:
        """A kernel has ended; where it was ready another takes its place."""
        if kernel in self._ready:
            self._discard(self._pop(kernel))
            self.adjust()

    def _discard(self, kernel: ForkedKernel) -> None:
        async def end() -> None:
            await kernel.close()
            await asyncio.to_thread(shutil.rmtree, kernel.run_dir, ignore_errors=True)

        self._track(asyncio.create_task(end()))

    def _rest(self, seconds: float) -> None:
        """Start nothing in advance for so long."""

        async def adjust() -> None:
            await asyncio.sleep(seconds)
            self.adjust()

        self._resting_until = asyncio.get_running_loop().time() + seconds
        self._track(asyncio.create_task(adjust()))

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def suspend_when_quiet(kernel: ForkedKernel) -> None:
    """Suspend a kernel once it has warmed up."""
    await asyncio.sleep(WARM_UP_BEGINS_S)
    meter, deadline = kernel.meter, asyncio.get_running_loop().time() + QUIET_MOST_S
    used = meter.cpu_seconds() if meter is not None else None
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(QUIET_S)
        now = meter.cpu_seconds() if meter is not None else None
        if used is None or now is None or now - used < QUIET_S * QUIET_SHARE:
            break
        used = now
    await kernel.suspend()
