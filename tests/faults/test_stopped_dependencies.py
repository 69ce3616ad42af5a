"""RabbitMQ, PostgreSQL or S3 stopped under load: 503 with Retry-After, never a hang or a 500, and all goes on after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.local import Stack
from tests.support.api import Api, asks_again

pytestmark = pytest.mark.slow(reason="a server stays away for a while")

DOWN_S = 6.0
"""How long the dependency stays down under load, in seconds."""

LONGEST_ANSWER_S = 25.0
"""No answer takes longer (SPEC.md: 503), in seconds."""

BACK_S = 30.0
"""Everything works again so soon after the dependency is back, in seconds."""


@dataclass
class Load:
    """Four callers that never stop asking, and what they were told."""

    api: Api
    notebook_id: str
    answers: list[tuple[str, int, float, Any, Any]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    async def ask(self, method: str, path: str, **options: Any) -> None:
        began = time.monotonic()
        status, body, headers = await self.api.call(method, path, **options)
        self.answers.append((f"{method} {path.partition('/')[0]}", status, time.monotonic() - began, body, headers))
        if path.endswith("/execute") and status == 202:
            self.accepted.append(body["executionId"])

    async def forever(self, number: int) -> None:
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", f"notebook/{self.notebook_id}", {}),
            ("POST", "notebook", {"json": {"notebookName": "under load"}}),
            ("GET", "notebooks", {}),
            ("POST", f"notebook/{self.notebook_id}/execute", {}),
        ]
        method, path, options = calls[number]
        while True:
            await self.ask(method, path, **options)
            await asyncio.sleep(0.5 if method == "POST" else 0.1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.forever(number)) for number in range(4)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            failed = [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, asyncio.CancelledError)]
            assert not failed

    def check(self) -> None:
        """Every answer was one that the contract has."""
        for what, status, seconds, body, headers in self.answers:
            assert seconds < LONGEST_ANSWER_S, what
            assert status in {200, 201, 202} or asks_again(status, body), (what, body)
            if status == 503:
                assert int(headers["Retry-After"]) >= 1, what
                assert body["status"] == 503
                assert body["error"] == body["detail"]


@pytest.mark.parametrize("dependency", ["rabbitmq", "postgres"])
async def test_a_stopped_dependency_gives_503_and_then_all_goes_on(
    fault_stack: Stack, fault_api: Api, dependency: str
) -> None:
    notebook = await fault_api.create("import time", "time.sleep(1)", "print('done')")
    load = Load(fault_api, notebook["notebookId"])
    async with load.running():
        async with asyncio.timeout(30):
            while len(load.accepted) < 3:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(fault_stack[dependency].stop)
        count = len(load.answers)
        deadline = time.monotonic() + DOWN_S
        while time.monotonic() < deadline or len(load.answers) < count + 4:
            await asyncio.sleep(0.1)
        refused = {what for what, status, _, body, _ in load.answers[count:] if asks_again(status, body)}
        await asyncio.to_thread(fault_stack[dependency].start)
        async with asyncio.timeout(BACK_S):
            later = len(load.answers)
            while len({what for what, status, *_ in load.answers[later:] if status < 300}) < 3:
                await asyncio.sleep(0.1)
    assert refused
    load.check()
    for execution_id in load.accepted:
        ended = await fault_api.wait(notebook["notebookId"], execution_id)
        assert ended["status"] == "Completed", ended["errorMessage"]


async def test_a_stopped_object_store_refuses_uploads_and_holds_runs_until_it_is_back(
    fault_stack: Stack, fault_api: Api, simulated_log: Path
) -> None:
    notebook = await fault_api.create("print('x' * 200_000)")
    log = await asyncio.to_thread(simulated_log.read_bytes)
    await asyncio.to_thread(fault_stack["s3"].stop)
    try:
        form = aiohttp.FormData()
        form.add_field("datasetName", "while down")
        form.add_field("file", log, filename="log.csv")
        began = time.monotonic()
        status, problem, headers = await fault_api.post("dataset", data=form)
        assert (status, problem["status"]) == (503, 503)
        assert int(headers["Retry-After"]) >= 1
        assert time.monotonic() - began < LONGEST_ANSWER_S
        execution = await fault_api.start(notebook["notebookId"])
        path = f"notebook/{notebook['notebookId']}/execution/{execution['executionId']}"
        async with asyncio.timeout(30):
            while (await fault_api.get(path))[1]["phase"] != "CollectingResults":
                await asyncio.sleep(0.1)
        status, page, _ = await fault_api.get("notebooks")
        assert (status, page["totalCount"]) == (200, 1)
    finally:
        await asyncio.to_thread(fault_stack["s3"].start)
    ended = await fault_api.wait(notebook["notebookId"], execution["executionId"])
    assert ended["status"] == "Completed"
    (output,) = (await fault_api.results(ended))["outputs"]
    async with fault_api.session.get(output["downloadUrl"]) as response:
        assert len(await response.read()) == 200_001
    status, page, _ = await fault_api.get("datasets")
    assert page["totalCount"] == 0
