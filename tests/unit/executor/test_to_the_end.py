"""Who is cancelled while a thread works for it goes on only when the thread has ended."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from services.executor import to_the_end
from services.executor.environments.shelf import Shelf


class Held:
    """Work that goes on until it is let go."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.began, self._go_on, self._then = threading.Event(), threading.Event(), then

    def __call__(self, *_: object) -> None:
        self.began.set()
        assert self._go_on.wait(30)
        self._then()

    async def cancelled(self, task: asyncio.Task[object]) -> None:
        """Cancel the task while this works, twice, and let go."""
        assert await asyncio.to_thread(self.began.wait, 30)
        for _ in range(2):
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not task.done()
        self._go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancellation_waits_for_the_thread() -> None:
    done: list[str] = []
    work = Held(lambda: done.append("done"))
    await work.cancelled(asyncio.create_task(to_the_end.in_thread(work)))
    assert done == ["done"]


async def test_a_result_and_an_error_come_through() -> None:
    assert await to_the_end.in_thread(int, "5") == 5
    with pytest.raises(ValueError, match="invalid literal"):
        await to_the_end.in_thread(int, "x")


async def test_an_environment_is_not_removed_while_it_is_put_on_its_shelf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path / "environments", max_bytes=1)
    await shelf.open()
    built = shelf.new_folder("one")
    moved: list[bool] = []
    work = Held(lambda: moved.append(built.exists()))
    monkeypatch.setattr(Shelf, "_publish", work)

    async def publish_and_clear() -> None:
        try:
            await shelf.publish(built, "one")
        finally:
            shutil.rmtree(built)

    await work.cancelled(asyncio.create_task(publish_and_clear()))
    assert moved == [True]
