"""The outbox's pump: commit order, no waiting for confirms, and nothing lost whatever the broker loses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from shared import outbox
from shared.database import Database
from shared.outbox import WINDOW, Outbox, Row

DEADLINE_S = 30.0
"""Generous: a busy machine."""

pytestmark = pytest.mark.usefixtures("short_pauses")


class Server:
    """Stands for PostgreSQL: knows which rows were removed."""

    def __init__(self) -> None:
        self.outbox: Outbox | None = None
        self.removed: list[int] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Server]:
        yield self

    async def execute(self, statement: str, *arguments: Any) -> None:
        if statement.startswith("DELETE FROM outbox"):
            self.removed += arguments[0]

    async def fetch(self, _statement: str, *_arguments: Any) -> list[Any]:
        return []


class Bus:
    """A broker that confirms, or loses, what and when it is told to."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.confirms_at_once = False

    async def publish_fact(self, routing_key: str, body: bytes) -> None:
        del routing_key
        self.sent.append(int(body))
        if not self.confirms_at_once:
            answer = asyncio.get_running_loop().create_future()
            self.waiting.append((int(body), answer))
            await answer

    def confirm(self, *numbers: int) -> None:
        self._answer(numbers, lambda answer: answer.set_result(None))

    def lose(self, *numbers: int) -> None:
        self._answer(numbers, lambda answer: answer.set_exception(ConnectionResetError()))

    def _answer(self, numbers: tuple[int, ...], give: Callable[[asyncio.Future[None]], None]) -> None:
        for place in [place for place in self.waiting if place[0] in numbers]:
            self.waiting.remove(place)
            give(place[1])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


def rows(*numbers: int) -> list[Row]:
    return [Row(id=number, event_type="t", routing_key="t", body=str(number).encode()) for number in numbers]


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RETRY_S", 0.001)
    monkeypatch.setattr(outbox, "FORGET_S", 0.001)


@pytest.fixture
async def parts() -> AsyncIterator[tuple[Outbox, Bus, Server]]:
    bus, server = Bus(), Server()
    box = Outbox(cast("Database", server), bus, lease_s=8, heartbeat_s=2)
    await box.open()
    yield box, bus, server
    await box.close(timeout_s=0.01)


Parts = tuple[Outbox, Bus, Server]


async def test_rows_leave_in_commit_order_without_waiting_for_confirms(parts: Parts) -> None:
    box, bus, server = parts
    box.send(rows(1, 2))
    await until(lambda: bus.sent == [1, 2])
    box.send(rows(3))
    box.send(rows(4, 5))
    await until(lambda: bus.sent == [1, 2, 3, 4, 5])
    assert server.removed == []
    bus.confirm(1, 2, 3, 4, 5)
    await until(lambda: server.removed == [1, 2, 3, 4, 5])


async def test_a_row_is_done_when_all_before_it_are(parts: Parts) -> None:
    box, bus, server = parts
    box.send(rows(1, 2, 3))
    await until(lambda: len(bus.waiting) == 3)
    bus.confirm(2, 3)
    box.send(rows(4))
    await until(lambda: bus.sent == [1, 2, 3, 4])
    assert server.removed == []
    bus.confirm(1)
    await until(lambda: server.removed == [1, 2, 3])


async def test_after_a_loss_in_the_middle_of_several_batches_the_pump_goes_back_to_the_first_unconfirmed(
    parts: Parts,
) -> None:
    box, bus, server = parts
    box.send(rows(1, 2))
    box.send(rows(3, 4, 5))
    await until(lambda: bus.sent == [1, 2, 3, 4, 5])
    box.send(rows(6, 7))
    await until(lambda: bus.sent == [1, 2, 3, 4, 5, 6, 7])
    bus.lose(4)
    bus.confirm(1, 5, 6)
    await until(lambda: box._is_lost)  # from here on nothing new is sent
    box.send(rows(8))
    bus.confirm(2)
    await asyncio.sleep(0)
    assert bus.sent == [1, 2, 3, 4, 5, 6, 7]
    # 3 may still be confirmed, and is; 7 is lost as well.
    bus.confirm(3)
    bus.lose(7)
    await until(lambda: len(bus.sent) == 12)
    assert bus.sent == [1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8]
    await until(lambda: server.removed == [1, 2, 3])
    bus.confirm(4, 5, 6, 7, 8)
    await until(lambda: server.removed == [1, 2, 3, 4, 5, 6, 7, 8])


async def test_a_broker_that_is_away_for_a_while_gets_everything_in_order(parts: Parts) -> None:
    box, bus, server = parts
    box.send(rows(*range(1, 4)))
    for _ in range(3):
        await until(lambda: len(bus.waiting) == 3)
        bus.sent.clear()
        bus.lose(1, 2, 3)
    await until(lambda: len(bus.waiting) == 3)
    box.send(rows(4))
    await until(lambda: len(bus.waiting) == 4)
    bus.confirm(1, 2, 3, 4)
    await until(lambda: server.removed == [1, 2, 3, 4])
    assert bus.sent == [1, 2, 3, 4]


async def test_no_more_rows_are_in_flight_than_the_window_holds(parts: Parts) -> None:
    box, bus, server = parts
    box.send(rows(*range(2 * WINDOW)))
    await until(lambda: len(bus.waiting) == WINDOW)
    bus.confirm(0)
    await until(lambda: len(bus.sent) == WINDOW + 1)
    bus.confirms_at_once = True
    bus.confirm(*range(WINDOW + 1))
    await until(lambda: server.removed == list(range(2 * WINDOW)))
    assert bus.sent == list(range(2 * WINDOW))


async def test_what_is_unconfirmed_at_the_end_stays_for_another_process() -> None:
    bus, server = Bus(), Server()
    box = Outbox(cast("Database", server), bus, lease_s=8, heartbeat_s=2)
    await box.open()
    box.send(rows(1, 2, 3))
    await until(lambda: len(bus.waiting) == 3)
    bus.confirm(1, 3)
    await until(lambda: server.removed == [1])
    await box.close(timeout_s=0.01)
    assert server.removed == [1]
    assert all(answer.cancelled() for _, answer in bus.waiting)
