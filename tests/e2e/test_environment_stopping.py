"""A run that is stopped, or out of time, while its environment is being built: in a stack whose uv never ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import psutil
import pytest

from tests.support.api import Api
from tests.support.runs import address, terminal_events
from tests.support.stacks import private_folder, private_stack
from tests.support.standstill import uv_without_end


@pytest.fixture(scope="module")
async def slow_api(http: aiohttp.ClientSession) -> AsyncIterator[Api]:
    """The API of a stack that can build nothing."""
    with private_folder() as folder, private_stack(slots=2, env={"ATELIER_UV": str(uv_without_end(folder))}) as stack:
        yield await Api.of(stack, http)


def sleepers() -> list[int]:
    return [process.pid for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "4242"]]


async def sleeping(count: int) -> None:
    async with asyncio.timeout(20):
        while len(sleepers()) != count:
            await asyncio.sleep(0.05)


async def test_a_cancelled_build_ends_at_once(slow_api: Api) -> None:
    notebook = await slow_api.create("1", environment={"packages": ["inflection"]})
    run = await slow_api.start(notebook["notebookId"])
    await sleeping(1)
    _, status, _ = await slow_api.get(address(run))
    assert (status["status"], status["phase"]) == ("Running", "PreparingEnvironment")
    assert (await slow_api.post(f"{address(run)}/cancel"))[0] == 202
    ended = await slow_api.wait(notebook["notebookId"], run["executionId"], timeout_s=20)
    assert ended["status"] == "Cancelled"
    assert await terminal_events(slow_api, run) == ["execution.cancelled"]
    await sleeping(0)


async def test_the_runs_time_limit_holds_for_a_build(slow_api: Api) -> None:
    notebook = await slow_api.create("1", environment={"packages": ["inflection"]})
    ended = await slow_api.run(notebook["notebookId"], {"timeout": 2})
    assert (ended["status"], ended["errorType"]) == ("Error", "TimeoutError")
    assert "2 seconds" in ended["errorMessage"]
    await sleeping(0)
