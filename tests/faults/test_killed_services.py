"""kill -9 of any service while runs are under way: every run ends once, and no number is missing."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.support.recorder import TERMINAL, Recorder

pytestmark = pytest.mark.slow(reason="twenty runs, and a service that is killed and started again")

RUNS = 20
ALL_ENDED_S = 150.0
"""Twenty runs, a lost lease and a restart included, in seconds."""


async def ended_runs(connection: asyncpg.Connection, ids: list[str]) -> dict[str, tuple[str, int]]:
    rows = await connection.fetch(
        "SELECT execution_id::text, state, last_seq FROM executor.execution "
        "WHERE execution_id = ANY($1::uuid[]) AND ended_at IS NOT NULL",
        ids,
    )
    return {row["execution_id"]: (row["state"], row["last_seq"]) for row in rows}


@pytest.mark.parametrize("victim", ["gateway", "catalog", "control", "worker", "artifacts"])
async def test_a_killed_service_loses_no_run(fault_stack: Stack, fault_api: Api, victim: str) -> None:
    notebook = await fault_api.create("import time\ntime.sleep(0.5)", "print('x' * 100_000)", "time.sleep(0.5)")
    pattern = f"execution.*.{fault_api.tenant}.#"
    connection = await asyncpg.connect(fault_stack.postgres_dsn)
    try:
        async with Recorder(fault_stack.amqp_url, pattern, f"test.{uuid4()}") as recorder:
            accepted = [await fault_api.start(notebook["notebookId"]) for _ in range(RUNS)]
            ids = [execution["executionId"] for execution in accepted]
            async with asyncio.timeout(60):
                while not await ended_runs(connection, ids):
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(fault_stack[victim].kill)
            await asyncio.to_thread(fault_stack[victim].start)
            async with asyncio.timeout(ALL_ENDED_S):
                while len(ended := await ended_runs(connection, ids)) < RUNS:
                    await asyncio.sleep(0.1)
            await recorder.until_terminal(set(ids))
            heard = recorder.by_execution()
        stored = await connection.fetch(
            "SELECT execution_id::text, array_agg(sequence ORDER BY sequence) AS numbers "
            "FROM executor.execution_event WHERE execution_id = ANY($1::uuid[]) GROUP BY 1",
            ids,
        )
        counters = await connection.fetchrow(
            "SELECT queued, active FROM executor.tenant WHERE tenant_id = $1::uuid", fault_api.tenant
        )
    finally:
        await connection.close()
    assert {state for state, _ in ended.values()} == {"Completed"}
    assert (counters["queued"], counters["active"]) == (0, 0)
    numbers = {row["execution_id"]: row["numbers"] for row in stored}
    for identity, (_, last) in ended.items():
        everything = list(range(1, last + 1))
        assert numbers[identity] == everything
        assert sorted({event["sequence"] for event in heard[identity]}) == everything
        assert len({event["id"] for event in heard[identity] if event["type"] in TERMINAL}) == 1
        assert len({event["id"] for event in heard[identity]}) == last
    status, shown, _ = await fault_api.get(f"notebook/{notebook['notebookId']}")
    assert (status, shown["status"], shown["executionCount"]) == (200, "Ready", RUNS)


async def test_a_worker_drained_by_sigterm_hands_its_runs_over_without_counting_an_attempt(
    fault_stack: Stack, fault_api: Api, connection: asyncpg.Connection
) -> None:
    notebook = await fault_api.create("import time\ntime.sleep(6)")
    execution = await fault_api.start(notebook["notebookId"])
    path = f"notebook/{notebook['notebookId']}/execution/{execution['executionId']}"
    async with asyncio.timeout(30):
        while (await fault_api.get(path))[1]["currentCell"] is None:
            await asyncio.sleep(0.1)
    await asyncio.to_thread(fault_stack.worker.stop)
    await asyncio.to_thread(fault_stack.worker.start)
    ended = await fault_api.wait(notebook["notebookId"], execution["executionId"])
    assert ended["status"] == "Completed"
    row = await connection.fetchrow(
        "SELECT attempt, epoch FROM executor.execution WHERE execution_id = $1", execution["executionId"]
    )
    assert (row["attempt"], row["epoch"]) == (1, 3)  # claimed, handed over, claimed again
