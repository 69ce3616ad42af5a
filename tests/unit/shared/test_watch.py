"""The watch over a dependency: away within a second of silence, never because this process itself was held up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from shared.errors import Unavailable
from shared.watch import Watch


class Dependency:
    """Answers pings, refuses them, or stands still."""

    def __init__(self) -> None:
        self.state = "well"
        self.pings = 0

    async def ping(self) -> None:
        self.pings += 1
        if self.state == "refuses":
            raise ConnectionRefusedError
        while self.state == "still":
            await asyncio.sleep(0.01)


@pytest.fixture
def dependency() -> Dependency:
    return Dependency()


@pytest.fixture
async def watch(dependency: Dependency) -> AsyncIterator[Watch]:
    watch = Watch("It", dependency.ping)
    yield watch
    await watch.close()


async def test_quick_answers_cost_no_ping(watch: Watch, dependency: Dependency) -> None:
    for _ in range(20):
        assert await watch.guard(asyncio.sleep(0.01, "answer")) == "answer"
    assert dependency.pings == 0


async def test_slow_work_goes_on_while_pings_are_answered(watch: Watch, dependency: Dependency) -> None:
    assert await watch.guard(asyncio.sleep(1.2, "answer")) == "answer"
    assert dependency.pings >= 2


@pytest.mark.parametrize("state", ["refuses", "still"])
async def test_whoever_waits_is_let_go_and_others_are_refused_at_once(
    watch: Watch, dependency: Dependency, state: str
) -> None:
    dependency.state = state
    with pytest.raises(Unavailable, match="It does not answer"):
        await asyncio.wait_for(watch.guard(asyncio.sleep(60)), 10)
    pings = dependency.pings
    with pytest.raises(Unavailable):
        watch.refuse_if_away()
    with pytest.raises(Unavailable):
        await watch.ensure()
    assert dependency.pings == pings
    dependency.state = "well"
    async with asyncio.timeout(10):
        while watch.away:
            await asyncio.sleep(0.01)
    assert await watch.guard(asyncio.sleep(0, "answer")) == "answer"


async def test_a_write_asks_first_unless_the_dependency_was_just_heard(watch: Watch, dependency: Dependency) -> None:
    await asyncio.gather(watch.ensure(), watch.ensure())
    assert dependency.pings == 1
    await watch.ensure()
    watch.heard()
    await watch.ensure()
    assert dependency.pings == 1


async def test_a_loop_that_was_held_up_is_not_silence(watch: Watch, dependency: Dependency) -> None:
    dependency.state = "still"
    asking = asyncio.ensure_future(watch.ensure())
    await asyncio.sleep(0.02)
    time.sleep(2)  # noqa: ASYNC251 - as when this process gets no processor
    dependency.state = "well"
    await asyncio.wait_for(asking, 10)
    assert not watch.away


async def test_a_caller_that_goes_away_is_no_news(watch: Watch) -> None:
    waiting = asyncio.ensure_future(watch.guard(asyncio.sleep(60)))
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not watch.away
