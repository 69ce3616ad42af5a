"""Events reach a reader each once and in order, whatever the bus loses, repeats or delays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from services.gateway import event_stream
from services.gateway.event_stream import PAGE, Heartbeat, encode, follow, resume_point
from services.gateway.feed import BACKLOG, Listener, LiveEvent, Notice
from shared.contracts.executions import ExecutionEventPage, ListExecutionEvents
from shared.errors import Invalid, NotFound, Unavailable
from tests.unit.gateway.fake_ports import EXECUTION, NOTEBOOK, Api

PATH = f"notebook/{NOTEBOOK.notebook_id}/execution/{EXECUTION.execution_id}/events"


def stored(number: int, *, last: bool = False) -> dict[str, Any]:
    kind = "execution.completed" if last else "execution.cell_completed"
    return {"specversion": "1.0", "type": kind, "sequence": number, "data": {}}


def live(number: int, *, last: bool = False) -> LiveEvent:
    event = stored(number, last=last)
    return LiveEvent(sequence=number, type=event["type"], body=orjson.dumps(event))


class Run:
    """A run whose events are in the database up to a point; `happen` also tells the listener."""

    def __init__(self, committed: int, *, total: int = 10) -> None:
        self.committed = committed
        self.total = total
        self.listener = Listener()
        self.reads: list[int] = []
        self.errors: list[Exception] = []

    async def history(self, after: int) -> ExecutionEventPage:
        self.reads.append(after)
        if self.errors:
            raise self.errors.pop(0)
        numbers = range(after + 1, min(self.committed, after + PAGE) + 1)
        events = [stored(number, last=number == self.total) for number in numbers]
        return ExecutionEventPage(events=events, ended=self.committed == self.total)

    def tell(self, *numbers: int) -> None:
        self.committed = max(self.committed, *numbers)
        for number in numbers:
            self.listener.tell(live(number, last=number == self.total))

    async def read(self, *, after: int = 0, on_event: Callable[[int], None] = lambda number: None) -> list[int]:
        seen = []
        async with asyncio.timeout(5):
            async for event in follow(await self.history(after), self.history, self.listener, after=after):
                if isinstance(event, LiveEvent):
                    seen.append(event.sequence)
                    on_event(event.sequence)
        return seen


async def test_history_comes_first_then_what_happens() -> None:
    run = Run(4)
    run.tell(5, 6, 7, 8, 9, 10)
    run.committed = 4  # the page was read before these were committed

    def commit(number: int) -> None:
        run.committed = max(run.committed, number)

    assert await run.read(on_event=commit) == list(range(1, 11))
    assert run.reads == [0]


async def test_an_ended_run_needs_no_bus() -> None:
    assert await Run(10).read() == list(range(1, 11))


async def test_resuming_goes_on_after_the_last_one_seen() -> None:
    assert await Run(10).read(after=7) == [8, 9, 10]
    assert await Run(10).read(after=10) == []


async def test_history_longer_than_a_page_is_read_to_its_end() -> None:
    total = 2 * PAGE + 3
    run = Run(total, total=total)
    assert await run.read() == list(range(1, total + 1))
    assert run.reads == [0, PAGE, 2 * PAGE]


async def test_what_is_heard_twice_is_told_once() -> None:
    run = Run(4)
    first = await run.history(0)
    run.tell(3, 4, 5, 5, 6, 4, 7, 8, 9, 10)
    seen = [
        event.sequence
        async for event in follow(first, run.history, run.listener, after=0)
        if isinstance(event, LiveEvent)
    ]
    assert seen == list(range(1, 11))


async def test_a_gap_is_filled_from_history() -> None:
    run = Run(4)
    first = await run.history(0)
    run.tell(5, 8, 6, 7, 9, 10)
    seen = [
        event.sequence
        async for event in follow(first, run.history, run.listener, after=0)
        if isinstance(event, LiveEvent)
    ]
    assert seen == list(range(1, 11))
    assert run.reads == [0, 5]


async def test_a_lost_connection_makes_the_reader_look_again() -> None:
    run = Run(4)
    first = await run.history(0)
    run.committed = 10  # all of it happened while the broker was away
    run.listener.tell(Notice.MISSED)
    seen = [
        event.sequence
        async for event in follow(first, run.history, run.listener, after=0)
        if isinstance(event, LiveEvent)
    ]
    assert seen == list(range(1, 11))


async def test_silence_is_filled_with_heartbeats_and_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.01)
    run = Run(4)
    first = await run.history(0)
    seen: list[Any] = []
    async for event in follow(first, run.history, run.listener, after=0):
        seen.append(event)
        if isinstance(event, Heartbeat):
            run.committed = 10  # the bus never told
    assert [event.sequence for event in seen if isinstance(event, LiveEvent)] == list(range(1, 11))
    assert any(isinstance(event, Heartbeat) for event in seen)


async def test_history_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "RETRY_S", 0.001)
    run = Run(4)
    first = await run.history(0)
    run.committed = 10
    run.errors = [Unavailable("Away."), Unavailable("Away.")]
    run.listener.tell(Notice.MISSED)
    seen = [event async for event in follow(first, run.history, run.listener, after=0)]
    assert sum(isinstance(event, Heartbeat) for event in seen) == 2
    assert [event.sequence for event in seen if isinstance(event, LiveEvent)] == list(range(1, 11))


async def test_a_stopping_process_ends_the_stream() -> None:
    run = Run(4)
    run.listener.tell(Notice.CLOSING)
    assert await run.read() == [1, 2, 3, 4]


async def test_a_stopping_process_does_not_wait_for_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "RETRY_S", 0.001)
    run = Run(4)
    first = await run.history(0)
    run.errors = [Unavailable("Away.")] * 1_000
    run.listener.tell(Notice.MISSED)
    beats = 0
    async for event in follow(first, run.history, run.listener, after=0):
        beats += isinstance(event, Heartbeat)
        if beats == 3:
            run.listener.tell(Notice.CLOSING)
    assert beats == 3


async def test_a_slow_reader_loses_its_backlog_and_reads_again() -> None:
    total = BACKLOG + 50
    run = Run(1, total=total)
    first = await run.history(0)
    run.tell(*range(2, total + 1))
    seen = [
        event.sequence
        async for event in follow(first, run.history, run.listener, after=0)
        if isinstance(event, LiveEvent)
    ]
    assert seen == list(range(1, total + 1))


async def test_a_listener_waits_no_longer_than_told() -> None:
    assert await Listener().next(0.01) is None
    assert await Listener().next(-1) is None


def test_the_bytes_are_server_sent_events() -> None:
    text = encode(live(7)).decode()
    identity, kind, data, *rest = text.split("\n")
    assert (identity, kind) == ("id: 7", "event: execution.cell_completed")
    assert orjson.loads(data.removeprefix("data: "))["sequence"] == 7
    assert rest == ["", ""]
    assert encode(Heartbeat()) == b":\n\n"


@pytest.mark.parametrize(
    ("header", "query", "point"),
    [(None, None, 0), ("7", None, 7), (None, "3", 3), ("7", "3", 7), ("", "", 0), ("9999999999", None, 2**31 - 1)],
)
def test_where_to_resume(header: str | None, query: str | None, point: int) -> None:
    assert resume_point(header, query) == point


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 30, "²"])
def test_a_resume_point_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        resume_point(text, None)


async def test_the_call_streams_from_the_point_asked_for(api: Api) -> None:
    run = Run(10)
    api.requests.on(
        ListExecutionEvents,
        lambda command: ExecutionEventPage(
            events=[stored(number, last=number == 10) for number in range(command.after + 1, 11)], ended=True
        ),
    )
    answer = await api.call("GET", PATH, headers={"Last-Event-ID": "8"})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert [line for line in answer.body.decode().splitlines() if line.startswith("id:")] == ["id: 9", "id: 10"]
    assert run.reads == []


async def test_an_unknown_run_is_a_problem_and_no_stream(api: Api) -> None:
    api.requests.on(ListExecutionEvents, NotFound("There is no such execution."))
    answer = await api.call("GET", PATH)
    assert answer.status == 404
    assert answer.json["title"] == "Not found"


async def test_listening_begins_before_history_is_read(api: Api) -> None:
    def page(_command: Any) -> ExecutionEventPage:
        assert api.feeds.listeners, "an event between the two would be lost"
        return ExecutionEventPage(events=[stored(1), stored(2, last=True)], ended=True)

    api.requests.on(ListExecutionEvents, page)
    assert (await api.call("GET", PATH)).status == 200


async def test_without_the_broker_a_stream_is_503(api: Api) -> None:
    api.feeds.error = Unavailable("The broker is away.")
    assert (await api.call("GET", PATH)).status == 503
