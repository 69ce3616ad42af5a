"""When a run gives way to others, by what it takes of the processors; the clock is set by hand."""

from __future__ import annotations

from typing import cast

import pytest

from services.executor.kernels.metering import Meter
from services.executor.running.demand import CALM_S, LOOK_S, Demand


class Standin:
    """As much of a meter as is looked at, with the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used: float | None = 0.0
        self.changes: list[bool] = []

    def cpu_seconds(self) -> float | None:
        return self.used

    def give_way(self, *, gives_way: bool) -> None:
        self.changes.append(gives_way)


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Standin:
    meter = Standin()
    monkeypatch.setattr("services.executor.running.demand.time.monotonic", lambda: meter.now)
    return meter


@pytest.fixture
def demand(meter: Standin) -> Demand:
    return Demand(cast("Meter", meter))


def take(demand: Demand, meter: Standin, processors: float, seconds: float) -> None:
    for _ in range(round(seconds / LOOK_S)):
        assert meter.used is not None
        meter.now += LOOK_S
        meter.used += LOOK_S * processors
        demand.look()


def test_one_processor_is_everybodys(demand: Demand, meter: Standin) -> None:
    take(demand, meter, 1.0, 10)
    assert meter.changes == []


def test_more_gives_way_at_once_and_for_as_long_as_it_takes_what_others_leave(demand: Demand, meter: Standin) -> None:
    take(demand, meter, 2.0, LOOK_S)
    assert meter.changes == [True]
    take(demand, meter, 0.8, 10)
    assert meter.changes == [True]


def test_who_takes_little_again_is_an_equal_again(demand: Demand, meter: Standin) -> None:
    take(demand, meter, 2.0, 1)
    take(demand, meter, 0.1, CALM_S / 2)
    take(demand, meter, 0.8, LOOK_S)
    take(demand, meter, 0.1, CALM_S - LOOK_S)
    assert meter.changes == [True]
    take(demand, meter, 0.1, 2 * LOOK_S)
    assert meter.changes == [True, False]


def test_nothing_happens_where_nothing_is_told(demand: Demand, meter: Standin) -> None:
    meter.used = None
    meter.now = 10
    demand.look()
    assert meter.changes == []
