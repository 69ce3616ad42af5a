"""A run's facts: by Server-Sent Events with replay, the same on the bus, numbered without a gap, in one trace."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import orjson
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.support.collector import TraceCollector
from tests.support.recorder import TERMINAL, Recorder

SERVICES = {f"atelier-{name}" for name in ("gateway", "catalog", "executor-control", "executor-worker", "artifacts")}


async def read_events(api: Api, execution: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """All events of the stream up to its end, with the `id` and `event` fields beside the data."""
    path = f"notebook/{execution['notebookId']}/execution/{execution['executionId']}/events"
    found: list[dict[str, Any]] = []
    fields: dict[str, str] = {}
    async with api.session.get(api.url(path), headers={**api.headers, **options}) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        async for raw in response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                found.append({"number": int(fields["id"]), "name": fields["event"], **orjson.loads(fields["data"])})
                fields = {}
    return found


@pytest.fixture
async def notebook(api: Api) -> dict[str, Any]:
    return await api.create("md:# Title", *[f"print({number})" for number in range(5)])


async def test_the_stream_tells_the_whole_run_live_and_ends_after_the_terminal_event(
    api: Api, notebook: dict[str, Any]
) -> None:
    execution = await api.start(notebook["notebookId"])
    events = await read_events(api, execution)
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert [event["sequence"] for event in events] == [event["number"] for event in events]
    assert events[0]["type"] == "execution.queued"
    assert events[-1]["type"] == "execution.completed"
    assert sum(event["type"] == "execution.cell_started" for event in events) == 5
    assert sum(event["type"] == "execution.cell_completed" for event in events) == 6
    assert all(event["specversion"] == "1.0" and event["name"] == event["type"] for event in events)
    status = await api.wait(notebook["notebookId"], execution["executionId"])
    assert status["status"] == "Completed"


async def test_last_event_id_resumes(api: Api, notebook: dict[str, Any]) -> None:
    execution = await api.run(notebook["notebookId"])
    everything = await read_events(api, execution)
    rest = await read_events(api, execution, **{"Last-Event-ID": "4"})
    assert [event["number"] for event in rest] == list(range(5, everything[-1]["number"] + 1))
    assert rest == everything[4:]
    path = f"notebook/{execution['notebookId']}/execution/{execution['executionId']}/events"
    status, nothing, _ = await api.get(path, headers={"Last-Event-ID": str(everything[-1]["number"])})
    assert (status, nothing) == (204, b"")


async def test_many_readers_of_one_run_hear_the_same(api: Api, notebook: dict[str, Any]) -> None:
    execution = await api.start(notebook["notebookId"])
    streams = await asyncio.gather(*(read_events(api, execution) for _ in range(10)))
    assert all(stream == streams[0] for stream in streams)


async def test_the_bus_carries_the_same_facts(api: Api, stack: Stack, notebook: dict[str, Any]) -> None:
    pattern = f"execution.*.{api.tenant}.{api.project}.#"
    async with Recorder(stack.amqp_url, pattern, f"test.{uuid4()}") as recorder:
        execution = await api.run(notebook["notebookId"])
        await recorder.until_terminal({execution["executionId"]})
        heard = recorder.by_execution()[execution["executionId"]]
    streamed = await read_events(api, execution)
    for event in streamed:
        event.pop("number")
        event.pop("name")
    assert heard == streamed
    assert sum(event["type"] in TERMINAL for event in heard) == 1


async def test_one_trace_from_the_request_to_the_last_cell(
    api: Api, collector: TraceCollector, notebook: dict[str, Any]
) -> None:
    trace_id = uuid4().hex
    status, execution, _ = await api.post(
        f"notebook/{notebook['notebookId']}/execute", headers={"traceparent": f"00-{trace_id}-{'1' * 16}-01"}
    )
    assert status == 202
    await api.wait(notebook["notebookId"], execution["executionId"])
    async with asyncio.timeout(20):
        while sum(span.name.startswith("cell ") for _, span in collector.of_trace(trace_id)) < 5 or not any(
            span.name == "run notebook" for _, span in collector.of_trace(trace_id)
        ):
            await asyncio.sleep(0.1)
        while True:
            spans = collector.of_trace(trace_id)
            services = {service for service, _ in spans}
            known = {span.span_id for _, span in spans}
            roots = [span for _, span in spans if span.parent_span_id not in known]
            if len(roots) == 1 and services >= SERVICES:
                break
            await asyncio.sleep(0.1)
    assert roots[0].parent_span_id.hex() == "1" * 16
    assert services == SERVICES


async def test_unknown_runs_have_no_events(api: Api, notebook: dict[str, Any]) -> None:
    status, problem, _ = await api.get(f"notebook/{notebook['notebookId']}/execution/{uuid4()}/events")
    assert status == 404
    assert problem["status"] == 404
