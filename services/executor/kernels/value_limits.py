"""How many values the JSON of a kernel's messages may have: one of some bytes takes fifty times as many in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from shared import nesting

MAX_VALUES = 1_000_000
"""Values of one message, members and items of every level counted: they are counted in its text, before it is read."""

MAX_RUN_VALUES = 3_000_000
"""Values that the outputs and widgets of a run keep at a time: some 350 MB at worst."""

COUNTED_AGAIN = MAX_RUN_VALUES // 10
"""What a run has kept is counted anew only when so many more have come since the last time."""

TOO_MANY = f"[an output that cannot be kept: its JSON has more than {MAX_VALUES:,} values]"

TOO_MANY_OF_RUN = f"[an output that cannot be kept: those of its run have more than {MAX_RUN_VALUES:,} values]"


def of_text(text: bytes) -> int:
    """Return the most values that JSON text can hold. Where its marks alone, those in strings included, do not lead
    beyond the limit, they are the answer: they are counted much faster."""
    most = text.count(b",") + text.count(b"[") + text.count(b"{") + 1
    return most if most <= MAX_VALUES else nesting.value_count(nesting.skeleton(text))


class ValueTally:
    """The values that a run keeps. `kept` returns all that may have some."""

    def __init__(self, kept: Callable[[], Iterable[Any]]) -> None:
        self._kept = kept
        self._counted = self._come = 0

    def admits(self, count: int) -> bool:
        """Count the values of a message; return whether it may be kept. What was cleared or replaced since the last
        count is found to be gone when there seem to be too many."""
        if self._counted + self._come + count > MAX_RUN_VALUES and self._come >= COUNTED_AGAIN:
            self._counted, self._come = sum(map(_count, self._kept())), 0
        if self._counted + self._come + count > MAX_RUN_VALUES:
            return False
        self._come += count
        return True


def _count(value: Any) -> int:
    """Values of one thing that is kept, near enough."""
    if isinstance(value, str):
        return 1
    try:
        text = orjson.dumps(value, default=str)
    except TypeError:
        text = str(value).encode(errors="replace")
    return nesting.value_count(nesting.skeleton(text)) if len(text) > 1 else 1
