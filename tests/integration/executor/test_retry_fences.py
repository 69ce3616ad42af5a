"""What a retry writes is written once, under its run's epoch: no attempt is lost or begins twice, counters stay right.

Each step is a transaction of its own, so a process that is killed has done it or not; here each is done again, late, by
a second writer, or against a cancellation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from services.executor import claiming, ending, model, requeueing, store
from services.executor.ending import Fenced
from services.executor.handlers import stopping
from services.executor.model import Verdict, pending_cells
from services.executor.settings import ExecutorSettings
from services.executor.store import queries
from services.executor.sweeper import Sweeper
from shared.database import Database
from shared.outbox import Outbox
from tests.integration.executor.test_progress import SilentBroker

SETTINGS = ExecutorSettings.model_construct(max_active_runs=10, reserved_slots_share=0.25)
FAILED = Verdict(state="Error", error_type="ZeroDivisionError", error_message="division by zero", failed_cell="a")


@pytest.fixture
async def database(executor_dsn: str) -> AsyncIterator[Database]:
    database = Database(executor_dsn, schema="executor")
    await database.open()
    outbox = Outbox(database, SilentBroker(), lease_s=8, heartbeat_s=2)
    await outbox.open()
    yield database
    await outbox.close(timeout_s=0.01)
    await database.close()


@dataclass
class Run:
    """A run of a tenant of its own."""

    database: Database
    id: UUID
    tenant: UUID

    async def row(self) -> asyncpg.Record:
        async with self.database.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM execution WHERE execution_id = $1", self.id)
            assert row is not None
            return row

    async def change(self, statement: str) -> None:
        async with self.database.connection() as connection:
            await connection.execute(f"UPDATE execution SET {statement} WHERE execution_id = $1", self.id)

    async def claim(self) -> asyncpg.Record:
        """As a worker does; the run must be waiting for one."""
        async with self.database.transaction() as transaction:
            tenant = await transaction.row("SELECT * FROM tenant WHERE tenant_id = $1 AND queued > 0", self.tenant)
            assert tenant is not None
            waiting = await transaction.row(queries.claim_execution, self.tenant)
            assert waiting is not None
            row = await transaction.row(queries.mark_claimed, self.id, uuid4())
            assert row is not None
            await transaction.execute(queries.count_claimed, self.tenant)
            return row

    async def retry(self, row: asyncpg.Record, wait_s: float, verdict: Verdict = FAILED) -> bool:
        async with self.database.transaction() as transaction:
            return await requeueing.retry(transaction, row, row["last_seq"], verdict, wait_s, manifest_epoch=1)

    async def requeue_due(self) -> None:
        async with self.database.transaction() as transaction:
            await requeueing.requeue_due(transaction, self.id, self.tenant)

    async def counters(self) -> tuple[int, int, int]:
        """Queued, delayed, active."""
        async with self.database.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM tenant WHERE tenant_id = $1", self.tenant)
            return (row["queued"], row["delayed"], row["active"])

    async def events(self) -> list[tuple[int, str]]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(queries.events_after, self.id, 0, 100)
        return [(row["sequence"], orjson.loads(row["body"])["type"]) for row in rows]

    async def attempts(self) -> list[tuple[int, str]]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(queries.attempts_of, [self.id])
        return [(row["attempt"], row["error_type"]) for row in rows]

    async def shown(self) -> Any:
        async with self.database.connection() as connection:
            return await store.view(connection, await self.row(), SETTINGS)


@pytest.fixture
async def run(database: Database) -> Run:
    """A run that waits in its queue."""
    run = Run(database, uuid4(), uuid4())
    notebook_id, project_id = uuid4(), uuid4()
    request = {"queueTimeout": 60, "retry": {"limit": 2, "on": ["error", "lost"]}}
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO notebook (notebook_id, tenant_id, project_id) VALUES ($1, $2, $3)",
            notebook_id,
            run.tenant,
            project_id,
        )
        await connection.execute("INSERT INTO tenant (tenant_id, queued) VALUES ($1, 1)", run.tenant)
        await connection.execute(
            "INSERT INTO execution (execution_id, tenant_id, project_id, notebook_id, notebook_version, state, "
            "priority, created_by, request, last_seq, progress, correlation_id) "
            "VALUES ($1, $2, $3, $4, '1.0.0', 'Queued', 1, 'tests', $5, 0, '{}', $1)",
            run.id,
            run.tenant,
            project_id,
            notebook_id,
            orjson.dumps(request).decode(),
        )
        cell = pending_cells(["a"])[0].model_dump_json(by_alias=True)
        await connection.execute("INSERT INTO execution_cell VALUES ($1, 0, 'a', $2)", run.id, cell)
    return run


async def test_a_retry_is_written_once_and_its_writer_can_write_no_more(run: Run) -> None:
    claimed = await run.claim()
    assert await run.counters() == (0, 0, 1)
    assert await run.retry(claimed, 30.0)
    for _ in range(2):  # the answer to the commit was lost, or another process believes the run to be its own
        assert not await run.retry(claimed, 30.0)
        with pytest.raises(Fenced):
            async with run.database.transaction() as transaction:
                await ending.end_as_found(transaction, claimed, FAILED)
    row = await run.row()
    assert (row["state"], row["attempt"], row["retries"], row["epoch"]) == ("Delayed", 1, 1, claimed["epoch"] + 1)
    assert await run.counters() == (0, 1, 0)
    assert await run.attempts() == [(1, "ZeroDivisionError")]
    assert await run.events() == [(2, "execution.attempt_failed")]
    shown = await run.shown()
    assert (shown.status, shown.phase, shown.queue_reason) == (
        "Running",
        "Queued",
        "waiting for attempt 2 of 3 in 30 s",
    )

    # It is not due: nobody takes it, and nothing ends its waiting.
    await run.requeue_due()
    assert await run.counters() == (0, 1, 0)
    async with run.database.connection() as connection:
        assert await connection.fetchrow(queries.claim_execution, run.tenant) is None
        assert run.id not in [found["execution_id"] for found in await connection.fetch(queries.overdue_in_queue)]

    # Due, it is queued once, however many sweepers find it.
    await run.change("retry_at = clock_timestamp() - interval '1 s'")
    async with run.database.connection() as connection:
        assert run.id in [found["execution_id"] for found in await connection.fetch(queries.due_runs)]
    await run.requeue_due()
    await run.requeue_due()
    assert await run.counters() == (1, 0, 0)
    assert await run.events() == [(2, "execution.attempt_failed"), (3, "execution.requeued")]
    again = await run.claim()
    assert (again["attempt"], again["manifest_epoch"]) == (2, None)
    assert await run.counters() == (0, 0, 1)


async def test_without_a_wait_the_run_is_queued_by_the_same_step(run: Run) -> None:
    assert await run.retry(await run.claim(), 0.0)
    assert ((await run.row())["state"], await run.counters()) == ("Queued", (1, 0, 0))
    assert await run.events() == [(2, "execution.attempt_failed"), (3, "execution.requeued")]
    assert await run.retry(await run.claim(), 0.0)
    assert await run.attempts() == [(1, "ZeroDivisionError"), (2, "ZeroDivisionError")]
    assert [attempt.attempt for attempt in (await run.shown()).attempts] == [1, 2]


async def test_a_promised_cancellation_holds_against_a_retry(run: Run) -> None:
    claimed = await run.claim()
    async with run.database.transaction() as transaction:
        await stopping.cancel_in(transaction, run.id)
    assert not await run.retry(claimed, 30.0)
    assert (await run.counters(), await run.attempts()) == ((0, 0, 1), [])
    async with run.database.transaction() as transaction:
        await ending.end_as_found(transaction, claimed, FAILED)
    assert ((await run.row())["state"], await run.counters()) == ("Cancelled", (0, 0, 0))


@pytest.mark.parametrize("due", [False, True])
async def test_cancelling_a_waiting_run_gives_its_place_back(run: Run, due: bool) -> None:
    await run.retry(await run.claim(), 30.0)
    seen = await run.row()
    if due:
        await run.change("retry_at = clock_timestamp()")
        await run.requeue_due()
        # Whoever read the run before it was queued ends nothing: its counters would be the wrong ones.
        with pytest.raises(Fenced):
            async with run.database.transaction() as transaction:
                await ending.end_as_found(transaction, seen, model.CANCELLED)
    async with run.database.transaction() as transaction:
        ended = await stopping.cancel_in(transaction, run.id)
    assert ended is not None
    assert (ended["state"], ended["manifest_epoch"], await run.counters()) == ("Cancelled", 1, (0, 0, 0))
    await run.requeue_due()
    assert ((await run.row())["state"], await run.counters()) == ("Cancelled", (0, 0, 0))


async def test_lost_workers_are_made_good_and_the_policy_extends_that(run: Run) -> None:
    sweeper = Sweeper(run.database, AsyncMock(), lease_s=8)
    reasons = []
    for attempt in range(1, 6):
        claimed = await run.claim()
        assert claimed["attempt"] == attempt
        async with run.database.transaction() as transaction:
            await sweeper._take_back(transaction, run.id)
        row = await run.row()
        reasons.append((row["state"], row["losses"] - row["retries"], row["retries"]))
    # Two for nothing, two by the policy's limit, and then the run has failed.
    assert reasons == [("Queued", 1, 0), ("Queued", 2, 0), ("Queued", 2, 1), ("Queued", 2, 2), ("Error", 2, 2)]
    assert await run.attempts() == [(number, "WorkerLostError") for number in range(1, 5)]
    assert (await run.row())["error_message"] == "The worker was lost 5 times while it ran this notebook."
    assert await run.counters() == (0, 0, 0)
    events = await run.events()
    assert [number for number, _ in events] == sorted({number for number, _ in events})
    kinds = [kind for _, kind in events]
    assert kinds.count("execution.attempt_failed") == kinds.count("execution.requeued") == 4


async def test_a_drained_attempt_is_none(run: Run) -> None:
    claimed = await run.claim()
    async with run.database.transaction() as transaction:
        await requeueing.hand_over(transaction, claimed)
    async with run.database.connection() as connection:
        left = await connection.fetchval("SELECT queue_deadline - now() FROM execution WHERE execution_id = $1", run.id)
    assert 50 < left.total_seconds() <= 60  # the time that it may wait for a worker begins anew
    assert (await run.attempts(), (await run.row())["losses"]) == ([], 0)
    assert (await run.claim())["attempt"] == 1
    assert await run.counters() == (0, 0, 1)


async def test_runs_that_wait_have_their_place_in_the_tenants_queue(run: Run) -> None:
    await run.retry(await run.claim(), 30.0)
    async with run.database.transaction() as transaction:
        assert await transaction.value(queries.count_in, run.tenant, 1) is None
        assert await transaction.value(queries.count_in, run.tenant, 2) == 1


async def test_a_wrong_number_of_waiting_runs_heals(run: Run) -> None:
    await run.retry(await run.claim(), 30.0)
    async with run.database.transaction() as transaction:
        await transaction.execute("UPDATE tenant SET delayed = 7 WHERE tenant_id = $1", run.tenant)
        assert run.tenant in [row["tenant_id"] for row in await transaction.fetch(queries.wrong_tenants)]
        await claiming.recount(transaction, run.tenant)
        assert run.tenant not in [row["tenant_id"] for row in await transaction.fetch(queries.wrong_tenants)]
    assert await run.counters() == (0, 1, 0)
