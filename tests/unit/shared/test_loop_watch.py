"""The watch over the event loop: it counts how late the loop comes, and how much of that was the process's own work."""

from __future__ import annotations

import asyncio
import time

from shared import loop_watch
from shared.loop_watch import EVERY_S, HELD_UP_SECONDS, LATE_SECONDS, LoopWatch

LATE_S = 0.3


async def measured(processor_s: float) -> tuple[float, float]:
    """How late the loop was, and for how long its own work held it up, when it is kept from coming."""
    spent = iter((0.0, processor_s, processor_s, processor_s))
    watch = LoopWatch(processor=lambda: next(spent))
    before = LATE_SECONDS._sum.get(), HELD_UP_SECONDS._sum.get()
    watch.start()
    time.sleep(EVERY_S + LATE_S)  # noqa: ASYNC251 - it is what the watch is for
    await asyncio.sleep(0.01)
    watch.stop()
    return LATE_SECONDS._sum.get() - before[0], HELD_UP_SECONDS._sum.get() - before[1]


async def test_a_loop_that_is_held_up_by_its_own_work_is_told_from_a_busy_machine() -> None:
    late, held_up = await measured(processor_s=60.0)
    assert late >= LATE_S
    assert held_up == late
    late, held_up = await measured(processor_s=0.0)
    assert late >= LATE_S
    assert held_up == 0.0


def test_its_longest_bucket_is_beyond_what_any_input_may_cost() -> None:
    assert max(loop_watch._BUCKETS) > 2
