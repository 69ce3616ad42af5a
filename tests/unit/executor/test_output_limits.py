"""When a cell, or all cells of a run, have put out too much."""

from __future__ import annotations

import pytest

from services.executor.kernels.output_limits import (
    MESSAGES_A_SECOND,
    RECEIVED_FACTOR,
    TRAFFIC_A_SECOND,
    Account,
    OutputLimits,
    OutputTally,
)

LIMITS = OutputLimits(output_bytes=100, traffic_bytes=1_000, messages=10)


def test_what_is_kept_and_what_passes_have_limits_of_their_own() -> None:
    tally = OutputTally(LIMITS)
    account = Account(tally, OutputTally(LIMITS))
    assert all(account.add_message(100) is None for _ in range(10))
    assert account.keep(100) is None
    assert account.keep(1) == "run_output"
    assert account.keep(-50) is None
    assert account.keep(50) is None
    account = Account(tally, OutputTally(OutputLimits(output_bytes=200, traffic_bytes=1_000, messages=10)))
    assert account.keep(1) == "output"
    assert account.add_message(0) == "output"


def test_what_only_passes_through_may_go_on_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("services.executor.kernels.output_limits.time.monotonic", lambda: now)
    tally = OutputTally(LIMITS)
    assert tally.add_message(1_000)
    assert not tally.add_message(1)
    assert tally.receive(RECEIVED_FACTOR * 1_000)
    assert not tally.receive(1)
    now = 1.0
    assert tally.add_message(TRAFFIC_A_SECOND - 1)
    assert not tally.add_message(1)
    assert tally.receive(RECEIVED_FACTOR * TRAFFIC_A_SECOND - 1)
    assert not tally.receive(1)


def test_messages_may_come_at_a_rate_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("services.executor.kernels.output_limits.time.monotonic", lambda: now)
    tally = OutputTally(LIMITS)
    assert all(tally.add_message(0) for _ in range(LIMITS.messages))
    assert not tally.add_message(0)
    now = 2.0
    assert all(tally.add_message(0) for _ in range(2 * MESSAGES_A_SECOND - 1))
    assert not tally.add_message(0)
