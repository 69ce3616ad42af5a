"""Answers that went wrong before: ranges outside the bytes, streams that have ended, places that are not there yet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.gateway import dispatch, examples, transfers
from services.gateway.calls import Answered
from services.gateway.model import Role
from services.gateway.transfers import Transfers
from shared import replies, reply_size
from shared.contracts.datasets import GetDataset
from shared.contracts.executions import ExecutionEventPage, ListExecutionEvents
from shared.contracts.notebooks import ExportNotebook, GetNotebook, IpynbFile
from shared.contracts.schedules import Fire, RunSchedule
from shared.requests import Requests
from tests.unit.gateway.fake_ports import DATASET, EXECUTION, NOTEBOOK, Api

DATA = f"dataset/{DATASET.dataset_id}/data"
EVENTS = f"notebook/{NOTEBOOK.notebook_id}/execution/{EXECUTION.execution_id}/events"
FIRE = Fire.model_validate(examples.MANUAL_FIRE)


@pytest.mark.parametrize(("size", "leaves"), [(reply_size.IN_LOOP_BYTES, False), (reply_size.IN_LOOP_BYTES + 1, True)])
@pytest.mark.parametrize("path", ["", "/export"])
async def test_a_large_answer_is_written_in_a_thread(
    api: Api, monkeypatch: pytest.MonkeyPatch, size: int, leaves: bool, path: str
) -> None:
    threads: list[threading.Thread] = []

    def dumps(*arguments: Any, **named: Any) -> bytes:
        if "option" in named:
            threads.append(threading.current_thread())
        return plain(*arguments, **named)

    def json_response(answer: Answered, status: int) -> web.Response:
        threads.append(threading.current_thread())
        return written(answer, status)

    def sized(answer: Any) -> Any:
        def give(_command: Any) -> Any:
            reply_size.note(size)
            return answer

        return give

    written, plain = dispatch.json_response, orjson.dumps
    monkeypatch.setattr(dispatch, "json_response", json_response)
    monkeypatch.setattr(orjson, "dumps", dumps)
    api.requests.on(GetNotebook, sized(NOTEBOOK))
    api.requests.on(ExportNotebook, sized(IpynbFile(file_name="n.ipynb", content=examples.IPYNB)))
    assert (await api.call("GET", f"notebook/{NOTEBOOK.notebook_id}{path}")).status == 200
    assert [thread is not threading.main_thread() for thread in threads] == [leaves]


@pytest.mark.parametrize(("length", "leaves"), [(1_000, False), (100_000, True)])
async def test_a_large_reply_is_read_in_a_thread(monkeypatch: pytest.MonkeyPatch, length: int, leaves: bool) -> None:
    threads: list[threading.Thread] = []

    def decode(body: bytes) -> replies.Reply:
        threads.append(threading.current_thread())
        return replies.Reply.model_validate(orjson.loads(body))

    monkeypatch.setattr(replies, "decode", decode)
    requests: Any = Requests(Mock(), Mock(), source="tests", key="k" * 16)
    waiting = requests._waiting["a"] = asyncio.get_running_loop().create_future()
    body = replies.Reply(data="x" * length).encode()
    await requests._on_reply(Mock(type="", correlation_id="a", body=body))
    assert (waiting.result().reply.data, waiting.result().size) == ("x" * length, len(body))
    assert [thread is not threading.main_thread() for thread in threads] == [leaves]


@pytest.fixture
async def stored(api: Api) -> AsyncIterator[dict[str, Any]]:
    """Artifacts, as far as downloads ask it: `answer` says what it does."""
    stored: dict[str, Any] = {}

    async def serve(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = await stored["answer"](request)
        return response

    app = web.Application()
    app.router.add_get("/internal/datasets/{id}/data", serve)
    api.requests.on(GetDataset, DATASET)
    async with TestServer(app) as server:
        real = Transfers(str(server.make_url("/")), key="x" * 16)
        await real.open()
        object.__setattr__(api.gateway, "transfers", real)
        yield stored
        await real.close()


async def test_a_range_outside_the_bytes_is_a_problem_that_says_how_many_there_are(
    api: Api, stored: dict[str, Any]
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=416, headers={"Content-Range": "bytes */1000"})

    stored["answer"] = answer
    refused = await api.call("GET", DATA, headers={"Range": "bytes=5000-"})
    assert refused.status == 416
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Content-Range"] == "bytes */1000"
    assert "contentRange" not in refused.json


async def test_a_download_that_stops_in_the_middle_is_broken_off(
    api: Api, stored: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "SILENCE_S", 0.2)
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        await over.wait()
        return response

    stored["answer"] = answer
    with pytest.raises(aiohttp.ClientError):
        async with asyncio.timeout(20):
            await api.call("GET", DATA)
    over.set()


async def test_a_stream_resumed_after_the_last_event_says_that_there_is_no_more(api: Api) -> None:
    api.requests.on(ListExecutionEvents, ExecutionEventPage(events=[], ended=True))
    resumed = await api.call("GET", EVENTS, headers={"Last-Event-ID": "12"})
    assert (resumed.status, resumed.body) == (204, b"")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"state": "Started", "execution_id": EXECUTION.execution_id}, f"execution/{EXECUTION.execution_id}"),
        ({"state": "Pending", "execution_id": None}, "schedule/fires"),
    ],
)
async def test_a_schedule_that_was_run_points_to_what_is_there(api: Api, changes: dict[str, Any], place: str) -> None:
    api.requests.on(RunSchedule, FIRE.model_copy(update=changes))
    answer = await api.call("POST", f"notebook/{NOTEBOOK.notebook_id}/schedule/run", role=Role.runner)
    assert answer.status == 202
    assert answer.headers["Location"].endswith(f"/notebook/{FIRE.notebook_id}/{place}")


@pytest.mark.parametrize("call", ["data", "preview", "profile"])
async def test_an_empty_version_is_the_present_one(api: Api, stored: dict[str, Any], call: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=b"a\n1\n", content_type="text/csv")

    stored["answer"] = answer
    answered = await api.call("GET", f"dataset/{DATASET.dataset_id}/{call}?version=")
    assert answered.status in {200, 404}, answered.body


async def test_the_bare_address_leads_to_the_documentation(api: Api) -> None:
    answer = await api.call("GET", "/", role=None, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (307, "/docs")
