"""Kernels that take long to start: who gets which, and how many start at a time. Kernels are stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from services.executor.kernels import shared_pool
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.port import KernelStartError
from services.executor.kernels.shared_pool import SharedPool, Starts
from services.executor.kernels.start_priority import StartPriority
from tests.support.polling import until


class Meter:
    """Of a stand-in: what it has used, and whether others go before it."""

    def __init__(self) -> None:
        self.used = 0.0
        self.low: list[bool] = []

    def cpu_seconds(self) -> float:
        return self.used

    def give_way(self, *, gives_way: bool) -> None:
        self.low.append(gives_way)


class Standin:
    """As much of a kernel as a pool looks at."""

    def __init__(self) -> None:
        self.run_dir = Path("/nowhere/at/all")
        self.exited: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.meter = Meter()
        self.states: list[str] = []

    async def suspend(self) -> None:
        self.states.append("suspended")

    async def resume(self) -> None:
        self.states.append("resumed")

    async def close(self) -> None:
        self.states.append("closed")


class Maker:
    """Starts a kernel whenever a test says so."""

    def __init__(self) -> None:
        self.under_way: list[tuple[asyncio.Future[ForkedKernel], StartPriority]] = []
        self.meters: list[Meter] = []
        self.begun = 0

    async def __call__(self, priority: StartPriority) -> ForkedKernel:
        self.begun += 1
        future: asyncio.Future[ForkedKernel] = asyncio.get_running_loop().create_future()
        start = future, priority
        self.under_way.append(start)
        self.meters.append(Meter())
        priority.apply_to(cast("Any", self.meters[-1]))
        try:
            return await start[0]
        finally:
            self.under_way.remove(start)

    def finish(self) -> Any:
        """The oldest start comes to its end."""
        kernel = Standin()
        self.under_way[0][0].set_result(cast("ForkedKernel", kernel))
        return kernel

    def fail(self, reason: str) -> None:
        self.under_way[0][0].set_exception(KernelStartError(reason))


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
async def pool(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SharedPool]:
    monkeypatch.setattr(shared_pool, "BREATH_S", 0.0)
    monkeypatch.setattr(shared_pool, "RETRY_S", 0.0)
    monkeypatch.setattr(shared_pool, "WARM_UP_BEGINS_S", 0.0)
    monkeypatch.setattr(shared_pool, "QUIET_S", 0.0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    pool = SharedPool(maker, Starts(), kernel="scala", start_processors=2)
    yield pool
    await pool.stop()
    assert not maker.under_way


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_run_that_waits_takes_the_kernel_that_is_being_started(pool: SharedPool, maker: Maker) -> None:
    pool.keep(1)
    await until(lambda: maker.begun == 1)
    assert maker.meters[0].low == [True]  # in advance: others go before it
    run = asyncio.create_task(pool.take())
    await _settle()
    assert maker.begun == 1
    assert maker.meters[0].low == [True, False]
    kernel = maker.finish()
    assert await run == (kernel, False)
    await until(lambda: maker.begun == 2)  # another for the next run


async def test_one_starts_at_a_time_and_the_longest_wait_ends_first(pool: SharedPool, maker: Maker) -> None:
    runs = [asyncio.create_task(pool.take()) for _ in range(3)]
    for run in runs:
        await until(lambda: len(maker.under_way) == 1)
        assert [one.done() for one in runs] == [one is not run and runs.index(one) < runs.index(run) for one in runs]
        kernel = maker.finish()
        assert await run == (kernel, False)
    await _settle()
    assert maker.begun == 3


async def test_a_start_that_fails_is_the_error_of_one_run(pool: SharedPool, maker: Maker) -> None:
    first, second = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await until(lambda: maker.begun == 1)
    maker.fail("no memory")
    with pytest.raises(KernelStartError, match="no memory"):
        await first
    await until(lambda: maker.begun == 2)
    kernel = maker.finish()
    assert await second == (kernel, False)


async def test_a_run_that_gives_up_leaves_its_start_to_the_next(pool: SharedPool, maker: Maker) -> None:
    first, second = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await until(lambda: maker.begun == 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    kernel = maker.finish()
    assert await second == (kernel, False)
    assert maker.begun == 1


async def test_a_start_that_nobody_wants_any_more_is_given_up(pool: SharedPool, maker: Maker) -> None:
    run = asyncio.create_task(pool.take())
    await until(lambda: maker.begun == 1)
    run.cancel()
    await until(lambda: not maker.under_way)


async def test_a_kernel_that_comes_as_its_run_gives_up_is_kept(pool: SharedPool, maker: Maker) -> None:
    pool.keep(1)
    run = asyncio.create_task(pool.take())
    await until(lambda: maker.begun == 1)
    kernel = maker.finish()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    if run.cancelled():
        await until(lambda: pool.ready == 1)
        assert await pool.take() == (kernel, True)
    else:
        assert run.result() == (kernel, False)


async def test_a_ready_kernel_is_suspended_once_it_is_quiet(
    pool: SharedPool, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_pool, "QUIET_S", 0.01)
    pool.keep(1)
    await until(lambda: maker.begun == 1)
    kernel = maker.finish()
    for _ in range(5):
        kernel.meter.used += 10  # it warms up
        await asyncio.sleep(0)
    await until(lambda: kernel.states == ["suspended"])
    assert await pool.take() == (kernel, True)
    assert kernel.states == ["suspended", "resumed"]


async def test_nothing_starts_in_advance_beside_another_start(pool: SharedPool, maker: Maker) -> None:
    starts = Starts()
    others, own = Maker(), Maker()
    slow = SharedPool(others, starts, kernel="scala")
    quick = SharedPool(own, starts, kernel="r")
    slow.keep(1)
    quick.keep(1)
    await until(lambda: others.begun == 1)
    await _settle()
    assert own.begun == 0
    run = asyncio.create_task(quick.take())  # a run does not wait for that
    await until(lambda: own.begun == 1)
    own.finish()
    await run
    others.finish()
    await until(lambda: own.begun == 2)
    for one in (slow, quick):
        await one.stop()


async def test_a_ready_kernel_that_ends_is_replaced(pool: SharedPool, maker: Maker) -> None:
    pool.keep(1)
    await until(lambda: maker.begun == 1)
    kernel = maker.finish()
    await until(lambda: pool.ready == 1)
    kernel.exited.set_result(None)
    await until(lambda: maker.begun == 2)
    assert pool.ready == 0
    await until(lambda: "closed" in kernel.states)


async def test_failures_in_advance_are_tried_again(pool: SharedPool, maker: Maker) -> None:
    pool.keep(1)
    for tries in (1, 2, 3):
        await until(lambda tries=tries: maker.begun == tries)  # type: ignore[misc]
        maker.fail("no disk")
    await until(lambda: maker.begun == 4)
    maker.finish()
    await until(lambda: pool.ready == 1)


async def test_a_run_that_waits_when_the_worker_stops_is_told(pool: SharedPool, maker: Maker) -> None:
    run = asyncio.create_task(pool.take())
    await until(lambda: maker.begun == 1)
    await pool.stop()
    with pytest.raises(KernelStartError, match="being stopped"):
        await run
