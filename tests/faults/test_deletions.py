"""Deleting under load: forced, racing executes, with services killed midway; nothing of the notebooks is left anywhere.

`ATELIER_DELETIONS=500` makes it that many; a third of each kind.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest
from minio import Minio

from deploy.local import Stack
from tests.support.api import Api

DELETIONS = int(os.environ.get("ATELIER_DELETIONS", "60"))
KIND = DELETIONS // 3
AT_ONCE = 4
"""Deletions of a kind that go on at the same time, and deletions that one kill falls into."""

VICTIMS = ["control", "catalog", "artifacts", "worker", "gateway"]
PATIENCE_S = 120.0
"""How long one deletion, or the removal of all that is left, may take, in seconds: with a lost lease and a restart."""

LARGE = "print('x' * 100_000)"
"""Its output becomes an object, not a row."""


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
                if status != 503:
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
        "WHERE table_schema IN ('gateway', 'catalog', 'executor', 'artifacts') AND data_type = 'uuid' "
        "AND column_name IN ('notebook_id', 'execution_id') AND is_updatable = 'YES'"
    )
    assert len(columns) >= 15
    found = {}
    for table, column in columns:
        ids = deletions.notebooks if column == "notebook_id" else deletions.executions
        rest = " AND blocked_at IS NULL" if table == "executor.notebook" else ""
        count = await database.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = ANY($1::uuid[]){rest}", ids)
        if count:
            found[f"{table}.{column}"] = count
    for table, column in (("artifacts.unsealed_object", "object_key"), ("artifacts.removal", "prefix")):
        if count := await database.fetchval(
            f"SELECT count(*) FROM {table} WHERE {column} LIKE $1", f"{deletions.api.tenant}/%"
        ):
            found[table] = count
    return found


def objects_left(stack: Stack, tenant: str) -> list[str]:
    access = stack.s3
    client = Minio(
        access.endpoint.partition("://")[2],
        access_key=access.access_key,
        secret_key=access.secret_key,
        secure=False,
        region=access.region,
    )
    return [str(item.object_name) for item in client.list_objects(access.bucket, prefix=f"{tenant}/", recursive=True)]


@pytest.mark.timeout(300 + DELETIONS * 10)
async def test_nothing_of_deleted_notebooks_is_left(
    fault_stack: Stack, fault_api: Api, database: asyncpg.Connection
) -> None:
    deletions = Deletions(fault_api)
    await deletions.all_of(fault_stack)
    assert len(deletions.notebooks) >= DELETIONS - 2
    rows: dict[str, int] = {}
    objects: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = await rows_left(database, deletions)
                objects = await asyncio.to_thread(objects_left, fault_stack, fault_api.tenant)
                if not rows and not objects:
                    break
                await asyncio.sleep(0.5)
    except TimeoutError:
        pytest.fail(f"left after {len(deletions.notebooks)} deletions: {rows} {objects}")
    statement = "SELECT queued, active FROM executor.tenant WHERE tenant_id = $1::uuid"
    assert tuple(await database.fetchrow(statement, fault_api.tenant)) == (0, 0)
    tombstones = "SELECT bool_and(cells::text = '{}') FROM executor.notebook WHERE notebook_id = ANY($1::uuid[])"
    assert await database.fetchval(tombstones, deletions.notebooks)
