"""When a cell, or all cells of a run, have put out too much."""

from __future__ import annotations

import pytest

from services.executor.kernels.output_limits import MESSAGES_A_SECOND, OutputLimits, OutputTally

LIMITS = OutputLimits(output_bytes=100, traffic_bytes=1_000, messages=10)


def test_what_is_kept_and_what_passes_have_limits_of_their_own() -> None:
    tally = OutputTally(LIMITS)
    assert all(tally.add_message(100) for _ in range(10))
    assert tally.add_output(100)
    assert not tally.add_output(1)
    assert not tally.add_message(1)


def test_messages_may_come_at_a_rate_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("services.executor.kernels.output_limits.time.monotonic", lambda: now)
    tally = OutputTally(LIMITS)
    assert all(tally.add_message(0) for _ in range(LIMITS.messages))
    assert not tally.add_message(0)
    now = 2.0
    assert all(tally.add_message(0) for _ in range(2 * MESSAGES_A_SECOND - 1))
    assert not tally.add_message(0)
