"""Work in child processes: what each limit does, and that nothing is left of a child whose caller is gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.child_exchange import ChildFailed, Limits, OutOfTime, TooCostly
from shared.child_pool import ChildPool
from shared.errors import Invalid, Unavailable

WORK = "tests.support.costly"
MEGABYTE = 1024 * 1024
LIMITS = Limits(processor_s=1, wall_s=20.0, memory_bytes=256 * MEGABYTE, output_bytes=4 * MEGABYTE)


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ChildPool]:
    pool = ChildPool([WORK], slots=2)
    await pool.open()
    yield pool
    await pool.close()


async def call(pool: ChildPool, function: str, argument: bytes = b"", **more: Any) -> bytes:
    more = {"owner": "a", "limits": LIMITS, "patience_s": 20.0, **more}
    return await pool.call(f"{WORK}:{function}", argument, **more)


def children_of(pid: int) -> list[int]:
    """The processes that a process has."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


async def no_child_left(pool: ChildPool) -> bool:
    template = pool._template
    assert template is not None
    async with asyncio.timeout(10):
        while children_of(template.pid):
            await asyncio.sleep(0.01)
    return True


async def test_answers_of_any_size_come_whole(pool: ChildPool) -> None:
    for text in (b"", b"x", os.urandom(3 * MEGABYTE)):
        assert await call(pool, "echo", text) == text


@pytest.mark.parametrize(
    ("function", "argument", "words"),
    [
        ("spin", b"", "1 s of processor time"),
        ("eat", b"", "256 MB of memory"),
        ("flood", b"5000000", "more than 4 MB"),
    ],
)
async def test_what_costs_too_much_ends_with_the_limit_that_it_broke(
    pool: ChildPool, function: str, argument: bytes, words: str
) -> None:
    with pytest.raises(TooCostly, match=words):
        await call(pool, function, argument)
    assert await no_child_left(pool)
    assert await call(pool, "echo", b"next") == b"next"


async def test_a_child_that_does_nothing_ends_by_the_clock(pool: ChildPool) -> None:
    limits = Limits(wall_s=0.2)
    with pytest.raises(OutOfTime, match=r"more than 0\.2 s"):
        await call(pool, "sleep", limits=limits)
    assert await no_child_left(pool)


async def test_errors_of_the_family_pass_others_are_told_apart(pool: ChildPool) -> None:
    with pytest.raises(Invalid) as raised:
        await call(pool, "refuse", b"file.cells")
    assert (raised.value.detail, raised.value.faults[0].path) == ("No.", "file.cells")
    with pytest.raises(ChildFailed, match="an unexpected one"):
        await call(pool, "fail")
    with pytest.raises(ChildFailed, match="status -15"):
        await call(pool, "die")


async def test_who_goes_away_takes_the_child_along(pool: ChildPool) -> None:
    call_that_hangs = asyncio.create_task(call(pool, "sleep"))
    template = pool._template
    assert template is not None
    async with asyncio.timeout(10):
        while not children_of(template.pid):
            await asyncio.sleep(0.01)
    call_that_hangs.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call_that_hangs
    assert await no_child_left(pool)
    assert not pool._children


async def test_a_child_sees_nothing_of_the_service(pool: ChildPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_INTERNAL_SECRET", "secret")
    seen = orjson.loads(await call(pool, "look"))
    assert [name for name in seen["environment"] if name.startswith("ATELIER")] == []
    assert len(seen["descriptors"]) == 5  # standard ones, the channel, the listing itself
    assert max(seen["descriptors"]) <= 4
    assert (seen["nice"] >= 5, seen["oom"]) == (True, 1000)
    assert seen["threads"] == 1
    assert seen["pid"] != orjson.loads(await call(pool, "look"))["pid"]  # nothing is left for the next


async def test_one_owner_cannot_take_every_slot(pool: ChildPool) -> None:
    waiting = [asyncio.create_task(call(pool, "sleep")) for _ in range(3)]
    try:
        await asyncio.sleep(0)
        assert await call(pool, "echo", b"b's", owner="b") == b"b's"
        with pytest.raises(Unavailable):
            await call(pool, "echo", patience_s=0.05)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert await call(pool, "echo", b"a's") == b"a's"


async def test_a_template_that_was_killed_is_started_again(pool: ChildPool) -> None:
    hanging = asyncio.create_task(call(pool, "sleep"))
    template = pool._template
    assert template is not None
    async with asyncio.timeout(10):
        while not children_of(template.pid):
            await asyncio.sleep(0.01)
    template.kill()
    with pytest.raises(Unavailable):
        await hanging
    assert await call(pool, "echo", b"again") == b"again"


async def test_an_idle_template_ends_and_comes_back() -> None:
    pool = ChildPool([WORK], idle_s=0.05)
    assert await call(pool, "echo", b"1") == b"1"
    template = pool._template
    assert template is not None
    async with asyncio.timeout(20):
        await template.wait()
    assert await call(pool, "echo", b"2") == b"2"
    await pool.close()


async def test_a_template_that_cannot_start_is_told() -> None:
    pool = ChildPool(["tests.support.no_such_module"])
    with pytest.raises(Unavailable):
        await call(pool, "echo")
    await pool.close()
