"""How long a run waits before more of its messages are read; the clock is set by hand."""

from __future__ import annotations

import asyncio

import pytest

from services.executor.kernels.fair_reading import BURST_S, MESSAGES_AT_ONCE, PAUSE_S, SHARE, FairReading, Turn


class Clock:
    """Stands still but for what is waited for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("services.executor.kernels.fair_reading.time.monotonic", clock.monotonic)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


async def read_for(turn: Turn, clock: Clock, seconds: float) -> None:
    """Until the clock says that more may be read."""
    clock.now += seconds
    turn.spend(seconds)
    assert turn.is_over
    await turn.pass_on(may_wait=True)
    while clock.waited[-1] == PAUSE_S:
        await turn.pass_on(may_wait=True)


async def test_a_run_alone_is_read_without_a_pause(clock: Clock) -> None:
    with FairReading().take_part() as turn:
        for _ in range(1_000):
            await read_for(turn, clock, 0.01)
    assert max(clock.waited) == 0


async def test_beside_others_it_gets_its_share_after_a_burst(clock: Clock) -> None:
    reading = FairReading()
    with reading.take_part() as turn, reading.take_part():
        for _ in range(1_000):
            await read_for(turn, clock, 0.01)
    assert max(clock.waited[: round(BURST_S / 0.01)]) == 0
    assert pytest.approx(BURST_S + SHARE * clock.now, rel=0.01) == 10


async def test_what_was_not_used_is_kept_up_to_a_burst(clock: Clock) -> None:
    reading = FairReading()
    with reading.take_part() as turn, reading.take_part():
        await read_for(turn, clock, 2 * BURST_S)
        clock.now += 1_000
        clock.waited.clear()
        await read_for(turn, clock, BURST_S / 2)
        assert clock.waited == [0]
        await read_for(turn, clock, 2 * BURST_S)
        assert sum(clock.waited) > BURST_S


async def test_a_kernel_that_does_not_wait_is_read_without_a_pause(clock: Clock) -> None:
    reading = FairReading()
    with reading.take_part() as turn, reading.take_part():
        turn.spend(10)
        await turn.pass_on(may_wait=False)
    assert clock.waited == [0]


async def test_a_turn_ends_with_time_and_with_messages(clock: Clock) -> None:
    with FairReading().take_part() as turn:
        for _ in range(MESSAGES_AT_ONCE):
            assert not turn.is_over
            turn.spend(0)
        assert turn.is_over
        await turn.pass_on(may_wait=True)
        assert not turn.is_over


async def test_once_the_others_have_ended_there_is_no_pause(clock: Clock) -> None:
    reading = FairReading()
    with reading.take_part() as turn:
        with reading.take_part():
            await read_for(turn, clock, 10)
            assert sum(clock.waited) > 10
        clock.waited.clear()
        await read_for(turn, clock, 10)
        assert clock.waited == [0]
