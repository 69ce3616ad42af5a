"""What a killed worker had listed while its run went on is shown no more: it was never sealed."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.support.runs import address, end_leases, until

pytestmark = pytest.mark.slow(reason="a worker is killed and started again")

LISTED_S = 40.0


async def outputs(api: Api, execution: dict[str, object], **query: str) -> list[object]:
    """The outputs that the results show."""
    status, results, _ = await api.get(f"{address(execution)}/results", params=query)
    assert status == 200, results
    return list(results["outputs"])


async def test_a_run_cancelled_while_it_waits_for_another_worker_shows_nothing_of_the_lost_one(
    fault_stack: Stack, fault_api: Api, connection: asyncpg.Connection
) -> None:
    notebook = await fault_api.create("print('first')", "import time", "time.sleep(600)")
    wanted = {"outputOptions": {"saveIntermediateResults": True}}
    execution = await fault_api.start(notebook["notebookId"], wanted)
    async with asyncio.timeout(LISTED_S):
        while not await outputs(fault_api, execution):
            await asyncio.sleep(0.1)
    await asyncio.to_thread(fault_stack.worker.kill)
    try:
        await end_leases(connection, [execution["executionId"]])
        await until(fault_api, execution, phase="Queued")
        assert await outputs(fault_api, execution) == []
        assert await outputs(fault_api, execution, attempt="1") == []
        status, _, _ = await fault_api.post(f"{address(execution)}/cancel")
        assert status == 202
        ended = await fault_api.wait(notebook["notebookId"], execution["executionId"])
        assert ended["status"] == "Cancelled"
        assert await outputs(fault_api, execution) == []
    finally:
        await asyncio.to_thread(fault_stack.worker.start)
