"""What a process does by itself goes on, whatever goes wrong with it."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from shared import background
from shared.background import Background
from shared.errors import Unavailable

DEADLINE_S = 10.0


class Failing(Background):
    """Raises what it is given, one after the other; then it is done."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self._errors = list(errors)
        self.done = asyncio.Event()

    async def work(self) -> float:
        if self._errors:
            raise self._errors.pop(0)
        self.done.set()
        return 3_600.0


async def until_done(worker: Failing) -> list[dict[str, object]]:
    with capture_logs() as logs:
        await worker.open()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await worker.done.wait()
        finally:
            await worker.close()
    return [dict(entry) for entry in logs]


async def test_an_error_that_nobody_expected_is_logged_and_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "LONGEST_PAUSE_S", 0.001)
    logs = await until_done(Failing(KeyError("one"), ZeroDivisionError("two")))
    assert [(entry["log_level"], entry["work"]) for entry in logs] == [("error", "Failing")] * 2
    assert all(entry["exc_info"] for entry in logs)  # with the traceback


async def test_a_dependency_that_is_down_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PUT_OFF_S", 0.001)
    (entry,) = await until_done(Failing(Unavailable("The database is away.")))
    assert (entry["log_level"], entry["reason"]) == ("warning", "The database is away.")


async def test_pauses_after_errors_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Failing(*(ValueError(str(number)) for number in range(9)))
    pauses: list[float] = []

    async def rest(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(worker, "_rest", rest)
    await until_done(worker)
    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pauses[9] == 3_600


async def test_work_that_comes_meanwhile_is_done_without_a_pause() -> None:
    class Counting(Background):
        def __init__(self) -> None:
            super().__init__()
            self.looks = 0
            self.enough = asyncio.Event()

        async def work(self) -> float:
            self.looks += 1
            if self.looks == 3:
                self.enough.set()
            else:
                self.wake()
            return 3_600.0

    worker = Counting()
    await worker.open()
    async with asyncio.timeout(DEADLINE_S):
        await worker.enough.wait()
    await worker.close()
    assert worker.looks == 3
