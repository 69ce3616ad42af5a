"""A limit for how long one test may take: what takes longer carries the mark `slow` with its reason, or fails.

`make test` sets the limit (`--longest-s`); without it nothing is limited. Only the test itself counts, not the stack
that it starts. On a machine with more to do than these tests the limit grows with the load.
"""

from __future__ import annotations

import os

import pytest

USUAL_LOAD = 2
"""Processes that want a processor, for each processor, while `make test` alone is at work."""


def add_option(parser: pytest.Parser) -> None:
    """See the module."""
    parser.addoption("--longest-s", type=float, default=0.0, help="seconds that a test may take")


def check_reason(item: pytest.Item) -> None:
    """Refuse a mark without a reason."""
    mark = item.get_closest_marker("slow")
    if mark is not None and not mark.kwargs.get("reason"):
        raise pytest.UsageError(f"{item.nodeid}: the mark `slow` needs a reason")


def judge(item: pytest.Item, report: pytest.TestReport) -> None:
    """Turn a success that took too long into a failure."""
    longest_s: float = item.config.getoption("--longest-s")
    if not longest_s or report.when != "call" or not report.passed or item.get_closest_marker("slow"):
        return
    allowed_s = longest_s * max(1.0, os.getloadavg()[0] / (USUAL_LOAD * (os.cpu_count() or 1)))
    if report.duration > allowed_s:
        report.outcome = "failed"
        report.longrepr = (
            f"took {report.duration:.1f} s, more than {allowed_s:.1f} s: make it faster, give part of it the mark "
            "`long`, or say with the mark `slow` why it must take so long"
        )
