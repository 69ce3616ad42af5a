"""A run's facts are written once each, in groups, whatever becomes of the database's answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from services.executor.ending import Fenced
from services.executor.model import Tally, pending_cells
from services.executor.running import incidents, progress
from services.executor.running.progress import ProgressWriter, Step
from shared.contracts.base import Scope
from shared.contracts.execution_events import CellStarted
from shared.contracts.executions import CellResult
from shared.database import Database, Facts
from shared.errors import OutcomeUnknown, Unavailable
from shared.outbox import Outbox

SCOPE = Scope(tenant_id=uuid4(), project_id=uuid4())
CELLS = ["a", "b", "c"]
DEADLINE_S = 30.0


class DoubtfulDatabase(Database):
    """Loses its connection before or after it has committed, as often as it is told to."""

    lost_before = lost_after = away = 0

    async def commit_at_once(self, statement: str, *arguments: Any, facts: Facts) -> bool:
        if self.lost_before:
            self.lost_before -= 1
            raise OutcomeUnknown("lost before")
        changed = await super().commit_at_once(statement, *arguments, facts=facts)
        if self.lost_after:
            self.lost_after -= 1
            raise OutcomeUnknown("lost after")
        return changed

    def connection(self) -> Any:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        return super().connection()


class SilentBroker:
    """Confirms nothing: what was committed stays in the outbox."""

    async def publish_fact(self, routing_key: str, body: bytes) -> None:
        del routing_key, body
        await asyncio.get_running_loop().create_future()


@pytest.fixture
async def database(executor_dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DoubtfulDatabase]:
    monkeypatch.setattr(progress, "RETRY_S", 0.001)
    monkeypatch.setattr(incidents, "RETRY_S", 0.001)
    database = DoubtfulDatabase(executor_dsn, schema="executor")
    await database.open()
    outbox = Outbox(database, SilentBroker(), lease_s=8, heartbeat_s=2)
    await outbox.open()
    yield database
    await outbox.close(timeout_s=0.01)
    await database.close()


@pytest.fixture
async def row(database: DoubtfulDatabase) -> asyncpg.Record:
    """A run that a worker has claimed."""
    notebook_id, execution_id = uuid4(), uuid4()
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO notebook (notebook_id, tenant_id, project_id) VALUES ($1, $2, $3)",
            notebook_id,
            SCOPE.tenant_id,
            SCOPE.project_id,
        )
        await connection.execute(
            "INSERT INTO execution (execution_id, tenant_id, project_id, notebook_id, notebook_version, state, epoch, "
            "priority, created_by, request, last_seq, progress, correlation_id) "
            "VALUES ($1, $2, $3, $4, '1.0.0', 'Claimed', 1, 1, 'tests', '{}', 2, '{}', $1)",
            execution_id,
            SCOPE.tenant_id,
            SCOPE.project_id,
            notebook_id,
        )
        for position, cell in enumerate(pending_cells(CELLS)):
            await connection.execute(
                "INSERT INTO execution_cell (execution_id, position, cell_id, result) VALUES ($1, $2, $3, $4)",
                execution_id,
                position,
                cell.cell_id,
                cell.model_dump_json(by_alias=True),
            )
        return await connection.fetchrow("SELECT * FROM execution WHERE execution_id = $1", execution_id)


def started(row: asyncpg.Record, place: int) -> Step:
    """The fact that a cell has begun."""
    counted = Tally(pending_cells(CELLS)).progress()
    event = CellStarted(
        scope=SCOPE,
        execution_id=row["execution_id"],
        notebook_id=row["notebook_id"],
        cell_id=CELLS[place],
        cell_index=place + 1,
        progress=counted,
    )
    result = CellResult(cell_id=CELLS[place], status="Running")
    return Step(event=event, progress=counted, current_cell=CELLS[place], place=place, result=result)


async def write(database: Database, row: asyncpg.Record, *steps: Step) -> None:
    """Write facts; raises Fenced when the run is no longer the writer's."""
    writer = ProgressWriter(database, row)
    writer.start()
    try:
        for step in steps:
            writer.add(step)
        async with asyncio.timeout(DEADLINE_S):
            await writer.drain()
    finally:
        await writer.stop()


async def kept(database: Database, execution_id: UUID) -> tuple[list[int], list[int], list[str]]:
    """Numbers of the stored facts, numbers of those in the outbox in its order, statuses of the cells."""
    async with database.connection() as connection:
        stored = await connection.fetch(
            "SELECT sequence, body FROM execution_event WHERE execution_id = $1 ORDER BY sequence", execution_id
        )
        sent = await connection.fetch(
            "SELECT body FROM outbox WHERE routing_key LIKE '%' || $1::text ORDER BY id", str(execution_id)
        )
        cells = await connection.fetch(
            "SELECT result FROM execution_cell WHERE execution_id = $1 ORDER BY position", execution_id
        )
    assert [orjson.loads(fact["body"])["sequence"] for fact in stored] == [fact["sequence"] for fact in stored]
    return (
        [fact["sequence"] for fact in stored],
        [orjson.loads(fact["body"])["sequence"] for fact in sent],
        [orjson.loads(cell["result"])["status"] for cell in cells],
    )


async def test_a_group_is_one_commit_of_facts_cells_and_outbox(database: DoubtfulDatabase, row: asyncpg.Record) -> None:
    await write(database, row, started(row, 0), started(row, 2))
    assert await kept(database, row["execution_id"]) == ([3, 4], [3, 4], ["Running", "Pending", "Running"])


@pytest.mark.parametrize("lost_before", [0, 1])
@pytest.mark.parametrize("lost_after", [0, 1])
@pytest.mark.parametrize("away", [0, 2])
async def test_a_lost_answer_writes_nothing_twice_and_loses_nothing(
    database: DoubtfulDatabase, row: asyncpg.Record, lost_before: int, lost_after: int, away: int
) -> None:
    database.lost_before, database.lost_after, database.away = lost_before, lost_after, away
    await write(database, row, started(row, 0), started(row, 1))
    assert await kept(database, row["execution_id"]) == ([3, 4], [3, 4], ["Running", "Running", "Pending"])


@pytest.mark.parametrize("lost_after", [0, 1])
async def test_a_run_that_was_taken_over_is_not_written_to(
    database: DoubtfulDatabase, row: asyncpg.Record, lost_after: int
) -> None:
    async with database.connection() as connection:
        await connection.execute("UPDATE execution SET epoch = 2 WHERE execution_id = $1", row["execution_id"])
    database.lost_after = lost_after
    with pytest.raises(Fenced):
        await write(database, row, started(row, 0))
    assert await kept(database, row["execution_id"]) == ([], [], ["Pending"] * 3)


async def test_an_event_that_cannot_be_written_is_told_and_leaves_nobody_waiting(
    database: DoubtfulDatabase, row: asyncpg.Record
) -> None:
    second = started(row, 1)
    broken = replace(second, event=second.event.model_copy(update={"cell_id": "\ud83d"}))
    with pytest.raises(ValueError, match="surrogates"):
        await write(database, row, started(row, 0), broken)


@pytest.mark.parametrize("result", [None, "{}"])
async def test_a_run_that_our_code_failed_on_ends_once_whatever_its_cells_are_like(
    database: DoubtfulDatabase, row: asyncpg.Record, result: str | None
) -> None:
    identity, counted = row["execution_id"], Tally(pending_cells(CELLS)).progress()
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE execution SET progress = $2 WHERE execution_id = $1",
            identity,
            counted.model_dump_json(by_alias=True),
        )
        if result is not None:
            await connection.execute("UPDATE execution_cell SET result = $2 WHERE execution_id = $1", identity, result)
    verdict = incidents.verdict_of(OSError(28, "No space left on device"), doing="filling the run's folder")
    for _ in range(2):
        await incidents.end_run(database, identity, row["epoch"], verdict)
    async with database.connection() as connection:
        ended = await connection.fetchrow("SELECT * FROM execution WHERE execution_id = $1", identity)
        assert ended is not None
    assert (ended["state"], ended["error_type"], ended["last_seq"]) == ("Error", "InternalError", row["last_seq"] + 1)
    assert "filling the run's folder (No space left on device)" in ended["error_message"]
