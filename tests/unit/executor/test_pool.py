"""The pool of ready kernels goes on filling, whatever one start has come to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from services.executor.kernels import pool
from services.executor.kernels.pool import Pool


def kernel() -> Any:
    return Mock(exited=asyncio.get_running_loop().create_future(), close=AsyncMock())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("fault", [ValueError("no message"), RuntimeError("no thread"), OSError("no disk")])
async def test_a_start_that_fails_in_any_way_is_tried_again(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "RETRY_S", 0.0)
    made = AsyncMock(side_effect=[fault, fault, kernel()])
    ready = Pool(made, 1)
    ready.start()
    try:
        await until(lambda: ready.ready == 1)
    finally:
        await ready.stop()
    assert made.await_count == 3
