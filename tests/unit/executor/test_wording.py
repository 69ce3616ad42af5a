from __future__ import annotations

import pytest

from services.executor import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0.5, "0.5 seconds"), (3.2, "3.2 seconds"), (1020, "17 minutes"), (510, "8.5 minutes"),
     (7200, "2 hours"), (0, "0 seconds")],
)  # fmt: skip
def test_durations_read_like_the_reference(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "unknown"), (0.2, "1 second"), (1000, "15-21 minutes"), (10, "9-13 seconds")]
)
def test_estimates_are_ranges(seconds: float | None, text: str) -> None:
    assert wording.estimate(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, "unknown"), (12, "12 bytes"), (450_000_000, "450 MB"), (2_300_000_000, "2.3 GB")]
)
def test_sizes_read_like_the_reference(count: int | None, text: str) -> None:
    assert wording.size(count) == text
