"""Deleting under load: forced, racing executes, with services killed midway; nothing of the notebooks is left anywhere.

`ATELIER_DELETIONS=500` makes it that many; a third of each kind.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest
from minio import Minio

from deploy.local import Stack
from tests.support.api import Api, asks_again
from tests.support.long import count

pytestmark = pytest.mark.slow(reason="60 deletions, with services killed meanwhile")

DELETIONS = count("ATELIER_DELETIONS", usual=60, long=500)
KIND = DELETIONS // 3
AT_ONCE = 4
"""Deletions of a kind that go on at the same time, and deletions that one kill falls into."""

SCHEMAS = ["gateway", "catalog", "executor", "artifacts"]
VICTIMS = ["control", "catalog", "artifacts", "worker", "gateway"]
PATIENCE_S = 120.0
"""How long one deletion, or the removal of all that is left, may take, in seconds: with a lost lease and a restart."""

LARGE = "print('x' * 100_000)"
"""Its output becomes an object, not a row."""

HUGE = "# " + "a line that nobody may find again " * 29_900
"""A source just over the bus's limit: the notebook travels by way of the object store."""


class Deletions:
    """One tenant that makes, runs and deletes notebooks, whatever is killed meanwhile."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.notebooks: list[str] = []
        self.executions: list[str] = []

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Ask until somebody answers other than 503."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    status, body, _ = await self.api.call(method, path, **options)
                except aiohttp.ClientError:
                    status, body = 503, None
                if not asks_again(status, body):
                    return status, body
                await asyncio.sleep(0.2)

    async def notebook(self, *sources: str) -> str:
        cells = [{"cellType": "code", "content": source} for source in sources]
        status, body = await self.ask("POST", "notebook", json={"notebookName": "short-lived", "initialCells": cells})
        assert status == 201, body
        self.notebooks.append(body["notebookId"])
        return str(body["notebookId"])

    async def execute(self, notebook_id: str) -> int:
        status, body = await self.ask("POST", f"notebook/{notebook_id}/execute", json={})
        if status == 202:
            self.executions.append(body["executionId"])
        return status

    async def delete(self, notebook_id: str, *, force: bool = True) -> None:
        """Delete it; a 404 is the answer to a repetition of what had its effect."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status, body = await self.ask("DELETE", f"notebook/{notebook_id}?force={str(force).lower()}")
                if status in (204, 404):
                    return
                assert status == 409, body
                force = True
                await asyncio.sleep(0.05)

    async def forced(self) -> None:
        notebook_id = await self.notebook(LARGE, "import time; time.sleep(60)")
        assert await self.execute(notebook_id) == 202
        await asyncio.sleep(random.uniform(0, 0.6))
        await self.delete(notebook_id)

    async def racing(self) -> None:
        notebook_id = await self.notebook(LARGE)

        async def execute_until_gone() -> None:
            while await self.execute(notebook_id) != 404:
                await asyncio.sleep(0.02)

        racers = [asyncio.create_task(execute_until_gone()) for _ in range(2)]
        await asyncio.sleep(random.uniform(0, 0.4))
        await self.delete(notebook_id, force=False)
        await asyncio.gather(*racers)

    async def midway(self, stack: Stack, victim: str) -> None:
        """Some deletions, with a service killed while they go on."""
        cells = (LARGE, "import time; time.sleep(0.3)", LARGE)
        ids = await asyncio.gather(*(self.notebook(*cells) for _ in range(AT_ONCE)))
        await asyncio.gather(*(self.execute(notebook_id) for notebook_id in ids))
        await asyncio.sleep(random.uniform(0, 1))
        deleting = asyncio.gather(*(self.delete(notebook_id) for notebook_id in ids))
        await asyncio.sleep(random.uniform(0, 0.3))
        await asyncio.to_thread(stack[victim].kill)
        await asyncio.to_thread(stack[victim].start)
        await deleting

    async def huge(self) -> None:
        """A notebook that no message holds: made, changed, run, read and deleted."""
        notebook_id = await self.notebook(HUGE, LARGE)
        status, body = await self.ask("PUT", f"notebook/{notebook_id}", json={"notebookName": "still huge"})
        assert status == 200, body
        assert await self.execute(notebook_id) == 202
        status, body = await self.ask("GET", f"notebook/{notebook_id}")
        assert status == 200, body
        assert body["cells"][0]["content"] == HUGE
        await self.delete(notebook_id)

    async def all_of(self, stack: Stack) -> None:
        """Every kind, side by side."""

        async def many(kind: Any, count: int) -> None:
            for _ in range(count):
                await kind()

        async def killing() -> None:
            for number in range(-(-KIND // AT_ONCE)):
                await self.midway(stack, VICTIMS[number % len(VICTIMS)])

        async with asyncio.TaskGroup() as group:
            for kind in (self.forced, self.racing):
                for lane in range(AT_ONCE):
                    group.create_task(many(kind, KIND // AT_ONCE + (lane < KIND % AT_ONCE)))
            group.create_task(killing())


@pytest.fixture
async def database(fault_stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fault_stack.postgres_dsn)
    yield connection
    await connection.close()


async def rows_left(database: asyncpg.Connection, deletions: Deletions) -> dict[str, int]:
    """Rows in any table of any schema that belong to the notebooks or their runs; a bare tombstone may stay."""
    columns = await database.fetch(
        "SELECT table_schema || '.' || table_name AS name, column_name FROM information_schema.columns "
        "WHERE table_schema = ANY($1) AND data_type = 'uuid' "
        "AND column_name IN ('notebook_id', 'execution_id') AND is_updatable = 'YES'",
        SCHEMAS,
    )
    assert len(columns) >= 15
    found = {}
    for table, column in columns:
        ids = deletions.notebooks if column == "notebook_id" else deletions.executions
        rest = " AND blocked_at IS NULL" if table == "executor.notebook" else ""
        count = await database.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = ANY($1::uuid[]){rest}", ids)
        if count:
            found[f"{table}.{column}"] = count
    for schema in SCHEMAS:
        statement = (
            f"SELECT count(*) FROM {schema}.command_log WHERE subject = ANY($1::uuid[]) OR position($2 in reply) > 0"
        )
        if count := await database.fetchval(statement, deletions.notebooks, HUGE[:100].encode()):
            found[f"{schema}.command_log"] = count
    for table, column in (("artifacts.unsealed_object", "object_key"), ("artifacts.removal", "prefix")):
        if count := await database.fetchval(
            f"SELECT count(*) FROM {table} WHERE {column} LIKE $1", f"{deletions.api.tenant}/%"
        ):
            found[table] = count
    return found


def objects_of(stack: Stack) -> set[str]:
    """Every object of the bucket."""
    access = stack.s3
    client = Minio(
        access.endpoint.partition("://")[2],
        access_key=access.access_key,
        secret_key=access.secret_key,
        secure=False,
        region=access.region,
    )
    return {str(item.object_name) for item in client.list_objects(access.bucket, recursive=True)}


@pytest.mark.timeout(300 + DELETIONS * 10)
async def test_nothing_of_deleted_notebooks_is_left(
    fault_stack: Stack, fault_api: Api, database: asyncpg.Connection
) -> None:
    deletions = Deletions(fault_api)
    await deletions.all_of(fault_stack)
    assert len(deletions.notebooks) >= DELETIONS - 2
    # What killed processes left of messages goes within minutes, which nobody waits for here.
    before = await asyncio.to_thread(objects_of, fault_stack)
    await deletions.huge()
    rows: dict[str, int] = {}
    objects: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = await rows_left(database, deletions)
                objects = [
                    key
                    for key in await asyncio.to_thread(objects_of, fault_stack)
                    if key.startswith(f"{fault_api.tenant}/") or key not in before
                ]
                if not rows and not objects:
                    break
                await asyncio.sleep(0.5)
    except TimeoutError:
        pytest.fail(f"left after {len(deletions.notebooks)} deletions: {rows} {objects}")
    statement = "SELECT queued, active FROM executor.tenant WHERE tenant_id = $1::uuid"
    assert tuple(await database.fetchrow(statement, fault_api.tenant)) == (0, 0)
    tombstones = "SELECT bool_and(cells::text = '{}') FROM executor.notebook WHERE notebook_id = ANY($1::uuid[])"
    assert await database.fetchval(tombstones, deletions.notebooks)
