"""The process listens to a run as long as somebody does, and says when it may have missed something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.gateway import feed as feeds
from services.gateway.feed import EventFeed, LiveEvent, Notice
from shared.contracts.base import Scope
from shared.envelope import Envelope
from shared.errors import Unavailable
from tests.unit.gateway.fake_ports import PROJECT, TENANT

SCOPE = Scope(tenant_id=TENANT, project_id=PROJECT)
NOTEBOOK, RUN = UUID(int=1), UUID(int=2)
PATTERN = f"execution.*.{TENANT}.{PROJECT}.{NOTEBOOK}.{RUN}"


@dataclass
class Message:
    routing_key: str
    body: bytes


class FakeQueue:
    def __init__(self) -> None:
        self.bindings: set[str] = set()
        self.binds = 0
        self.errors: list[Exception] = []
        self.deliver: Callable[[Any], Any] | None = None

    async def consume(self, callback: Callable[[Any], Any], *, no_ack: bool) -> None:
        assert no_ack
        self.deliver = callback

    async def bind(self, _exchange: str, pattern: str) -> None:
        self.binds += 1
        if self.errors:
            raise self.errors.pop(0)
        self.bindings.add(pattern)

    async def unbind(self, _exchange: str, pattern: str) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.bindings.discard(pattern)


class FakeBroker:
    """Stands for the connection and for its only channel."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.reopen_callbacks: set[Callable[..., None]] = set()
        self.losses: list[Callable[[], None]] = []

    async def consumer_channel(self, *, prefetch: int) -> FakeBroker:
        return self

    async def declare_queue(self, _name: str, *, exclusive: bool, auto_delete: bool) -> FakeQueue:
        assert exclusive
        assert auto_delete
        return self.queue

    def on_loss(self, callback: Callable[[], None]) -> None:
        self.losses.append(callback)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def feed(broker: FakeBroker) -> EventFeed:
    opened = EventFeed(broker)  # type: ignore[arg-type]
    await opened.open()
    return opened


def message(number: int | None, run: UUID = RUN) -> Message:
    identity = uuid4()
    envelope = Envelope(
        id=identity,
        source="/atelier/executor",
        type="execution.cell_completed",
        time=datetime.now(UTC),
        correlationid=identity,
        sequence=number,
    )
    key = f"execution.cell_completed.{TENANT}.{PROJECT}.{NOTEBOOK}.{run}"
    return Message(key, envelope.encode())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_two_listeners_share_a_binding(feed: EventFeed, broker: FakeBroker) -> None:
    async with feed.listen(SCOPE, NOTEBOOK, RUN) as first:
        async with feed.listen(SCOPE, NOTEBOOK, RUN) as second:
            assert broker.queue.bindings == {PATTERN}
            assert broker.queue.binds == 1
            assert broker.queue.deliver is not None
            await broker.queue.deliver(message(1))
            for listener in (first, second):
                heard = await listener.next(1)
                assert isinstance(heard, LiveEvent)
                assert (heard.sequence, heard.type) == (1, "execution.cell_completed")
        await asyncio.sleep(0)
        assert broker.queue.bindings == {PATTERN}
    await until(lambda: not broker.queue.bindings)


async def test_other_runs_and_odd_messages_are_not_heard(feed: EventFeed, broker: FakeBroker) -> None:
    async with feed.listen(SCOPE, NOTEBOOK, RUN) as listener:
        assert broker.queue.deliver is not None
        await broker.queue.deliver(message(1, run=UUID(int=3)))
        await broker.queue.deliver(message(None))
        await broker.queue.deliver(Message(message(1).routing_key, b"no envelope"))
        assert await listener.next(0) is None


async def test_a_listener_that_cannot_be_bound_is_told(feed: EventFeed, broker: FakeBroker) -> None:
    broker.queue.errors = [ConnectionResetError()]
    with pytest.raises(Unavailable):
        async with feed.listen(SCOPE, NOTEBOOK, RUN):
            pass
    async with feed.listen(SCOPE, NOTEBOOK, RUN):
        assert broker.queue.bindings == {PATTERN}


async def test_a_binding_that_cannot_be_removed_is_tried_again(
    feed: EventFeed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "UNBIND_RETRY_S", 0.001)
    async with feed.listen(SCOPE, NOTEBOOK, RUN):
        broker.queue.errors = [ConnectionResetError(), ConnectionResetError()]
    await until(lambda: not broker.queue.bindings)


async def test_a_binding_wanted_again_stays(feed: EventFeed, broker: FakeBroker) -> None:
    async with feed.listen(SCOPE, NOTEBOOK, RUN):
        pass
    async with feed.listen(SCOPE, NOTEBOOK, RUN) as listener:
        assert broker.queue.deliver is not None
        await asyncio.sleep(0.01)  # room for the first one's removal to go wrong
        assert broker.queue.bindings == {PATTERN}
        await broker.queue.deliver(message(4))
        assert isinstance(await listener.next(1), LiveEvent)


async def test_lost_and_restored_connections_are_announced(feed: EventFeed, broker: FakeBroker) -> None:
    async with feed.listen(SCOPE, NOTEBOOK, RUN) as listener:
        for lost in broker.losses:
            lost()
        assert await listener.next(1) is Notice.MISSED
        for restored in broker.reopen_callbacks:
            restored(broker)
        assert await listener.next(1) is Notice.MISSED


async def test_a_stopping_process_tells_old_and_new_listeners(feed: EventFeed) -> None:
    async with feed.listen(SCOPE, NOTEBOOK, RUN) as old:
        feed.announce_close()
        async with feed.listen(SCOPE, NOTEBOOK, RUN) as new:
            for listener in (old, new):
                assert await listener.next(1) is Notice.CLOSING
                assert listener.closing
    await feed.close()
