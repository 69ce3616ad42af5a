"""kill -9 while a file is put beside a notebook: the notebook has the whole file or no such file, and nothing is left.

The steps, at which the request is held by a lock on a table:

- storing: artifacts has stored the object and is about to write its row;
- between: artifacts keeps the content, catalog is about to write the version.
"""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from services.artifacts.files.reservations import Reservations
from services.artifacts.removals import Removals
from shared.contracts.base import Scope
from shared.database import Database
from tests.faults.storing import PATIENCE_S, sweep
from tests.integration.artifacts.client import Client
from tests.support.api import Api

HELD = {"storing": "artifacts.file_content", "between": "catalog.file_set"}

BODY = b"x" * 100_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("victim", "step"),
    [("artifacts", "storing"), ("gateway", "storing"), ("gateway", "between"), ("catalog", "between")],
)
async def test_a_file_is_there_whole_or_not_at_all(
    fault_stack: Stack, fault_api: Api, client: Client, connection: asyncpg.Connection, victim: str, step: str
) -> None:
    api = fault_api
    notebook = await api.create("1")
    address = f"notebook/{notebook['notebookId']}/files/a.bin"
    lock = connection.transaction()
    await lock.start()
    await connection.execute(f"LOCK TABLE {HELD[step]} IN EXCLUSIVE MODE")
    putting = asyncio.create_task(api.put(address, data=io.BytesIO(BODY)))
    async with asyncio.timeout(PATIENCE_S):
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass", HELD[step]
        ):
            await asyncio.sleep(0.02)
    await asyncio.to_thread(fault_stack[victim].kill)
    await lock.rollback()
    await asyncio.to_thread(fault_stack[victim].start)
    outcome = (await asyncio.gather(putting, return_exceptions=True))[0]
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, aiohttp.ClientError)
    else:
        assert outcome[0] in (200, 409, 503), outcome  # 409 says that it is not known
    status, body, _ = await patient_get(api, address)
    assert (status, body) == (200, BODY) or status == 404

    mine = client_of(client, api)
    await settle(fault_stack, mine)
    named = await mine.sql(
        "SELECT coalesce(array_agg(object_key), '{}') FROM file_content WHERE tenant_id = $1", UUID(api.tenant)
    )
    assert await mine.keys() == named
    present = (await patient_get(api, address))[0]
    assert present == status
    assert len(named) == (1 if present == 200 else 0)

    status, answer, _ = await api.put(address, data=io.BytesIO(BODY))
    assert status == 200, answer
    assert (await api.get(address))[1] == BODY


def client_of(client: Client, api: Api) -> Client:
    """The artifacts service as the API's project sees it."""
    return Client(
        stack=client.stack,
        broker=client.broker,
        requests=client.requests,
        objects=client.objects,
        session=client.session,
        scope=Scope(tenant_id=UUID(api.tenant), project_id=UUID(api.project)),
    )


async def patient_get(api: Api, address: str) -> tuple[int, bytes, object]:
    """Read, again while something is still starting."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                status, body, headers = await api.get(address)
            except aiohttp.ClientError:
                status = 503
            if status != 503:
                return status, body, headers
            await asyncio.sleep(0.1)


async def settle(stack: Stack, client: Client) -> None:
    """Do what artifacts does within two days: ask catalog about reservations, and sweep."""
    database = Database(stack.artifacts.environment()["ATELIER_ARTIFACTS_POSTGRES_DSN"], schema="artifacts")
    await database.open()
    try:
        removals = Removals(database, client.objects)
        reservations = Reservations(database, client.requests, removals, every_s=3_600, after_s=86_400)
        await reservations.settle(datetime.now(UTC) + timedelta(days=2))
    finally:
        await database.close()
    await sweep(client)
