"""Work on large replies leaves the event loop, and on small ones stays there."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared import reply_size


@pytest.mark.parametrize(
    ("sizes", "leaves"),
    [([], False), ([10, reply_size.IN_LOOP_BYTES], False), ([reply_size.IN_LOOP_BYTES + 1, 5], True)],
)
async def test_the_largest_reply_counts_also_where_a_task_waited_for_it(sizes: list[int], leaves: bool) -> None:
    async def asking(size: int) -> None:
        reply_size.note(size)

    with reply_size.measured():
        await asyncio.gather(*(asyncio.create_task(asking(size)) for size in sizes))
        assert (await reply_size.off_loop(threading.current_thread) is not threading.current_thread()) is leaves


async def test_nothing_is_measured_outside_a_request() -> None:
    with reply_size.measured():
        reply_size.note(10**9)
    assert await reply_size.off_loop(threading.current_thread) is threading.current_thread()
