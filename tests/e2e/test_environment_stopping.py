"""A run that is stopped, or out of time, while its environment is being built: in a stack whose uv never ends."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from deploy.local import Stack
from tests.support.api import Api

SLOW_UV = "#!/bin/sh\nsleep 4242 &\nwait\n"


@pytest.fixture(scope="module")
async def slow_api(http: aiohttp.ClientSession) -> AsyncIterator[Api]:
    """The API of a stack that can build nothing."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-"))
    folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
    uv = folder / "uv"
    uv.write_text(SLOW_UV)
    uv.chmod(0o755)
    stack = Stack(folder / "s", slots=2, env={"ATELIER_UV": str(uv)})
    try:
        await asyncio.to_thread(stack.__enter__)
        yield await Api.of(stack, http)
    finally:
        await asyncio.to_thread(stack.__exit__, None, None, None)
        shutil.rmtree(folder, ignore_errors=True)


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
    path = f"notebook/{notebook['notebookId']}/execution/{run['executionId']}"
    _, status, _ = await slow_api.get(path)
    assert (status["status"], status["phase"]) == ("Running", "PreparingEnvironment")
    assert (await slow_api.post(f"{path}/cancel"))[0] == 202
    ended = await slow_api.wait(notebook["notebookId"], run["executionId"], timeout_s=20)
    assert ended["status"] == "Cancelled"
    await sleeping(0)


async def test_the_runs_time_limit_holds_for_a_build(slow_api: Api) -> None:
    notebook = await slow_api.create("1", environment={"packages": ["inflection"]})
    ended = await slow_api.run(notebook["notebookId"], {"timeout": 2})
    assert (ended["status"], ended["errorType"]) == ("Error", "TimeoutError")
    assert "2 seconds" in ended["errorMessage"]
    assert 2 <= ended["totalDurationSeconds"] < 4
    await sleeping(0)
