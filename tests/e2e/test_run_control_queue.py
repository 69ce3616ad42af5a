"""Who goes first, who waits, and why: priorities, fair share between tenants, quotas, time limits of waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.e2e.conftest import SLOTS, Controlled
from tests.support.api import Api
from tests.support.runs import address, counters, end_leases, set_quota, status, terminal_events, until


@pytest.fixture
async def other(controlled: Controlled, http: aiohttp.ClientSession) -> Api:
    """Another tenant of the same stack."""
    return await Api.of(controlled.stack, http)


async def occupy(api: Api, count: int = SLOTS) -> list[dict[str, Any]]:
    """Runs that hold slots until they are cancelled."""
    notebook = await api.create("import time; time.sleep(120)")
    runs = [await api.start(notebook["notebookId"]) for _ in range(count)]
    for run in runs:
        await until(api, run, phase="ExecutingCells")
    return runs


async def release(api: Api, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        assert (await api.post(f"{address(run)}/cancel"))[0] == 202
    for run in runs:
        await api.wait(run["notebookId"], run["executionId"])


async def order_of(database: asyncpg.Connection, runs: dict[str, dict[str, Any]]) -> list[str]:
    """The names of runs in the order in which workers took them."""
    rows = await database.fetch(
        "SELECT execution_id::text FROM executor.execution WHERE execution_id = ANY($1::uuid[]) ORDER BY started_at",
        [run["executionId"] for run in runs.values()],
    )
    names = {run["executionId"]: name for name, run in runs.items()}
    return [names[row["execution_id"]] for row in rows]


async def all_ended(api: Api, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        assert (await api.wait(run["notebookId"], run["executionId"]))["status"] == "Completed"


async def test_higher_priority_goes_first_then_age(tenant: Api, database: asyncpg.Connection) -> None:
    await set_quota(database, tenant, max_active=1)
    held = await occupy(tenant, 1)
    notebook = await tenant.create("print(1)")
    runs = {
        f"{priority} {number}": await tenant.start(notebook["notebookId"], {"priority": priority})
        for number in (1, 2)
        for priority in ("Low", "Normal", "High")
    }
    wanted = ["High 1", "High 2", "Normal 1", "Normal 2", "Low 1", "Low 2"]
    positions = {name: (await status(tenant, run))["queuePosition"] for name, run in runs.items()}
    assert sorted(positions, key=lambda name: positions[name]) == wanted
    assert sorted(positions.values()) == list(range(1, 7))
    await release(tenant, held)
    await all_ended(tenant, list(runs.values()))
    assert await order_of(database, runs) == wanted
    assert await counters(database, tenant) == (0, 0)


async def test_a_crowd_of_one_tenant_does_not_hold_up_another(
    tenant: Api, other: Api, database: asyncpg.Connection
) -> None:
    held = await occupy(tenant)
    crowd, single = await tenant.create("print(1)"), await other.create("print(1)")
    many = {f"crowd {i}": await tenant.start(crowd["notebookId"], {"priority": "High"}) for i in range(12)}
    few = {f"single {i}": await other.start(single["notebookId"], {"priority": "Low"}) for i in range(3)}
    await release(tenant, held)
    await all_ended(tenant, list(many.values()))
    await all_ended(other, list(few.values()))
    order = await order_of(database, many | few)
    # Two slots, two tenants: they take turns, so the other's three runs are among the first eight.
    assert [name for name in order if name.startswith("single")] == list(few)
    assert max(order.index(name) for name in few) < 8
    assert [name for name in order if name.startswith("crowd")] == list(many)


async def test_why_a_run_waits(controlled: Controlled, tenant: Api, other: Api, database: asyncpg.Connection) -> None:
    notebook = await tenant.create("print(1)")
    held = await occupy(other)
    waiting = await tenant.start(notebook["notebookId"])
    assert (waiting["queuePosition"], waiting["queueReason"]) == (1, "waiting for a free worker slot")
    second = await tenant.start(notebook["notebookId"])
    assert second["queuePosition"] == 2
    code, page, _ = await tenant.get("execution/queue")
    assert (code, [run["queuePosition"] for run in page["executions"]]) == (200, [2, 1])

    await set_quota(database, tenant, max_active=0)
    await release(other, held)
    refused = await status(tenant, waiting)
    assert refused["queueReason"] == "the tenant's limit of 0 concurrent runs is reached"

    await asyncio.to_thread(controlled.stack.worker.stop)
    try:
        await set_quota(database, tenant)
        assert (await status(tenant, waiting))["queueReason"] == "no worker is running"
    finally:
        await asyncio.to_thread(controlled.stack.worker.start)
    ended = await tenant.wait(notebook["notebookId"], waiting["executionId"])
    assert (ended["status"], ended["queueReason"], ended["queuePosition"]) == ("Completed", None, None)
    await all_ended(tenant, [second])


async def test_a_tenant_has_no_more_concurrent_runs_than_its_limit(tenant: Api, database: asyncpg.Connection) -> None:
    await set_quota(database, tenant, max_active=1)
    notebook = await tenant.create("import time; time.sleep(0.3)")
    runs = [await tenant.start(notebook["notebookId"]) for _ in range(4)]
    await all_ended(tenant, runs)
    overlaps = await database.fetchval(
        "SELECT count(*) FROM executor.execution a JOIN executor.execution b ON a.tenant_id = b.tenant_id "
        "AND a.execution_id < b.execution_id AND a.started_at < b.ended_at AND b.started_at < a.ended_at "
        "WHERE a.tenant_id = $1::uuid",
        tenant.tenant,
    )
    assert overlaps == 0


async def test_a_full_queue_is_429_and_limits_show_the_numbers(tenant: Api, database: asyncpg.Connection) -> None:
    code, limits, _ = await tenant.get("/api/limits")
    assert code == 200
    assert (limits["maxConcurrentRuns"], limits["maxQueuedRuns"]) == (100, 10_000)
    assert (limits["concurrentRuns"], limits["queuedRuns"]) == (0, 0)

    await set_quota(database, tenant, max_active=1, max_queued=2)
    held = await occupy(tenant, 1)
    notebook = await tenant.create("print(1)")
    path = f"notebook/{notebook['notebookId']}/execute"
    waiting = [await tenant.start(notebook["notebookId"]) for _ in range(2)]
    code, problem, headers = await tenant.post(path, headers={"Idempotency-Key": "again"})
    assert code == 429
    assert int(headers["Retry-After"]) > 0
    assert problem["error"] == problem["detail"]
    assert "2 runs" in problem["detail"]
    code, problem, headers = await tenant.post(f"{address(held[0])}/rerun")
    assert (code, "Retry-After" in headers) == (429, True)
    code, limits, _ = await tenant.get("/api/limits")
    assert [limits[name] for name in ("maxConcurrentRuns", "maxQueuedRuns", "concurrentRuns", "queuedRuns")] == [
        1, 2, 1, 2,
    ]  # fmt: skip
    # Checking needs no place in the queue.
    assert (await tenant.post(path, json={"dryRun": True}))[0] == 200

    await release(tenant, held)
    await all_ended(tenant, waiting)
    # A refusal is not remembered under the key.
    code, execution, _ = await tenant.post(path, headers={"Idempotency-Key": "again"})
    assert code == 202
    await all_ended(tenant, [execution])
    assert (await status(tenant, execution))["totalDurationSeconds"] is not None


async def test_a_run_that_waits_too_long_ends_with_queue_timeout(tenant: Api, database: asyncpg.Connection) -> None:
    await set_quota(database, tenant, max_active=0)
    notebook = await tenant.create("print(1)")
    execution = await tenant.start(notebook["notebookId"], {"queueTimeout": 1})
    ended = await tenant.wait(notebook["notebookId"], execution["executionId"], timeout_s=10)
    assert (ended["status"], ended["errorType"], ended["failedCell"]) == ("Error", "QueueTimeoutError", None)
    assert "1 seconds" in ended["errorMessage"]
    assert [cell["status"] for cell in ended["cellResults"]] == ["Skipped"]
    assert await terminal_events(tenant, ended) == ["execution.failed"]
    assert await counters(database, tenant) == (0, 0)


async def test_the_time_to_wait_begins_anew_when_a_run_goes_back_to_the_queue(
    controlled: Controlled, tenant: Api, database: asyncpg.Connection
) -> None:
    notebook = await tenant.create("import time; time.sleep(3)")
    execution = await tenant.start(notebook["notebookId"], {"queueTimeout": 100})
    await until(tenant, execution, phase="ExecutingCells")
    # As if it had run for longer than it may wait: only its way back to the queue counts.
    await database.execute(
        "UPDATE executor.execution SET queue_deadline = now() - interval '1 s' WHERE execution_id = $1::uuid",
        execution["executionId"],
    )
    await asyncio.to_thread(controlled.stack.worker.kill)
    await end_leases(database, [execution["executionId"]])
    await asyncio.to_thread(controlled.stack.worker.start)
    ended = await tenant.wait(notebook["notebookId"], execution["executionId"])
    assert ended["status"] == "Completed", ended["errorMessage"]
    # The attempt that its worker did not outlive is shown, though no policy asks for another.
    lost, last = ended["attempts"]
    assert (ended["attempt"], ended["retry"], lost["errorType"]) == (2, None, "WorkerLostError")
    assert (lost["errorMessage"], last["status"]) == ("The worker was lost while it ran this notebook.", "Completed")
