"""Which run a free slot takes: shares by weight, a reserve for tenants that have none, and counters that heal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from services.executor import claiming
from services.executor.store import queries
from services.executor.sweeper import Sweeper
from shared.database import Database, Transaction

SLOTS = 8
RESERVED = 0.25


class Bench:
    """Tenants with waiting runs, and a worker that takes them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.worker = uuid4()

    async def tenant(self, *, waiting: int, weight: float = 1.0, claimed: int = 0) -> UUID:
        tenant, notebook = uuid4(), uuid4()
        async with self.database.transaction() as sql:
            await sql.execute(
                "INSERT INTO tenant (tenant_id, queued, active, weight) VALUES ($1, $2, $3, $4)",
                tenant,
                waiting,
                claimed,
                weight,
            )
            await sql.execute(
                "INSERT INTO notebook (notebook_id, tenant_id, project_id) VALUES ($1, $2, $2)", notebook, tenant
            )
            for number in range(waiting + claimed):
                state = "Queued" if number < waiting else "Claimed"
                await self._run(sql, tenant, notebook, state)
        return tenant

    async def _run(self, sql: Transaction, tenant: UUID, notebook: UUID, state: str) -> None:
        await sql.execute(
            "INSERT INTO execution (execution_id, tenant_id, project_id, notebook_id, notebook_version, state, epoch, "
            "priority, created_by, request, progress, correlation_id) "
            "VALUES ($1, $2, $2, $3, '1.0.0', $4, 0, 1, 'tests', '{}', '{}', $1)",
            uuid4(),
            tenant,
            notebook,
            state,
        )

    async def take(self) -> UUID | None:
        """Claim a run as a worker does; returns whose it is."""
        async with self.database.transaction() as sql:
            run = await claiming.next_run(sql, max_active=100, reserved_share=RESERVED)
            if run is None:
                return None
            await sql.execute("UPDATE execution SET state = 'Claimed' WHERE execution_id = $1", run["execution_id"])
            await sql.execute(queries.count_claimed, run["tenant_id"])
            tenant: UUID = run["tenant_id"]
            return tenant

    async def counters(self, tenant: UUID) -> tuple[int, int]:
        async with self.database.connection() as connection:
            row = await connection.fetchrow("SELECT queued, active FROM tenant WHERE tenant_id = $1", tenant)
        return row["queued"], row["active"]


@pytest.fixture
async def bench(executor_dsn: str) -> AsyncIterator[Bench]:
    database = Database(executor_dsn, schema="executor")
    await database.open()
    bench = Bench(database)
    async with database.transaction() as sql:
        for table in ("execution", "tenant", "worker"):
            await sql.execute(f"DELETE FROM {table}")
        await sql.row(queries.beat, bench.worker, 600.0, SLOTS, "tests")
    yield bench
    await database.close()


async def test_a_tenants_sleepers_leave_slots_for_who_has_none(bench: Bench) -> None:
    greedy = await bench.tenant(waiting=20)
    assert [await bench.take() for _ in range(SLOTS)] == [greedy] * 6 + [None] * 2

    late = await bench.tenant(waiting=3)
    assert [await bench.take() for _ in range(2)] == [late, None]
    third = await bench.tenant(waiting=1)
    assert await bench.take() == third


async def test_what_is_free_is_shared_by_weight(bench: Bench) -> None:
    heavy, light = await bench.tenant(waiting=9, weight=2.0), await bench.tenant(waiting=9)
    taken = [await bench.take() for _ in range(6)]
    assert (taken.count(heavy), taken.count(light)) == (4, 2)


async def test_a_counter_that_promises_runs_that_are_not_there_stops_nobody(bench: Bench) -> None:
    honest = await bench.tenant(waiting=1, claimed=1)
    wrong = await bench.tenant(waiting=0)
    async with bench.database.transaction() as sql:
        await sql.execute("UPDATE tenant SET queued = 3 WHERE tenant_id = $1", wrong)
    assert await bench.take() == honest
    assert await bench.counters(wrong) == (0, 0)
    assert await bench.counters(honest) == (0, 2)


async def test_a_sweep_puts_wrong_counters_right_and_leaves_right_ones_alone(bench: Bench) -> None:
    right = await bench.tenant(waiting=2, claimed=1)
    wrong = await bench.tenant(waiting=2, claimed=1)
    async with bench.database.transaction() as sql:
        await sql.execute("UPDATE tenant SET queued = 7, active = 100 WHERE tenant_id = $1", wrong)
    async with bench.database.connection() as connection:
        found = await connection.fetch(queries.wrong_tenants)
    assert [row["tenant_id"] for row in found] == [wrong]
    await Sweeper(bench.database, None, lease_s=8)._recount()  # type: ignore[arg-type]  # it publishes nothing
    assert await bench.counters(wrong) == await bench.counters(right) == (2, 1)


async def test_a_head_that_somebody_holds_is_passed_over_and_counted_as_it_is(bench: Bench) -> None:
    held = await bench.tenant(waiting=1)
    async with bench.database.transaction() as other:
        await other.row("SELECT * FROM execution WHERE tenant_id = $1 FOR UPDATE", held)
        assert await bench.take() is None
    assert await bench.counters(held) == (1, 0)
    assert await bench.take() == held
