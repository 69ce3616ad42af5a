"""A test that takes too long fails, unless it says why it must."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import durations

Judged = Callable[..., pytest.TestReport]


@pytest.fixture
def judged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Judged:
    """Judges a report of this very test."""

    def judge(*, seconds: float, longest_s: float = 15.0, when: str = "call", load: float = 1.0) -> pytest.TestReport:
        monkeypatch.setattr(request.config.option, "longest_s", longest_s)
        monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        report = pytest.TestReport("a", ("a", 1, "a"), {}, "passed", None, when, duration=seconds)  # type: ignore[arg-type]
        durations.judge(request.node, report)
        return report

    return judge


def test_what_takes_longer_than_it_may_fails_and_is_told_the_way_out(judged: Judged) -> None:
    report = judged(seconds=15.1)
    assert report.outcome == "failed"
    assert "took 15.1 s, more than 15.0 s" in str(report.longrepr)


@pytest.mark.parametrize(
    "members",
    [
        {"seconds": 14.9},
        {"seconds": 99.0, "longest_s": 0.0},  # nothing is limited
        {"seconds": 99.0, "when": "setup"},  # a stack is started
        {"seconds": 29.0, "load": 16.0},  # a machine with twice as much to do
    ],
    ids=str,
)
def test_what_may_take_that_long_passes(judged: Judged, members: dict[str, float]) -> None:
    assert judged(**members).outcome == "passed"


@pytest.mark.slow(reason="tries the mark, and takes no time")
def test_a_slow_test_may_take_longer(judged: Judged) -> None:
    assert judged(seconds=99.0).outcome == "passed"


def test_a_mark_without_a_reason_is_refused(request: pytest.FixtureRequest) -> None:
    durations.check_reason(request.node)
    request.node.add_marker(pytest.mark.slow)
    with pytest.raises(pytest.UsageError, match="needs a reason"):
        durations.check_reason(request.node)
