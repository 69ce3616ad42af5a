"""kill -9 of artifacts, or of the S3 server, at each step of an upload and of a registration: nothing partial shows.

The steps, at which both are held from outside (see storing.py):

- receiving: half of the file has arrived and is spooled; the run's object is stored, nothing is registered;
- announcing: the file is converted and its object is about to be announced; the manifest is about to be opened;
- storing: the dataset's object is announced and on its way to the store; so is the run's;
- committing: the dataset's object is stored, its row waits to be written; the manifest is open, its artifacts wait;
- committed: both transactions have just been committed; their answers may be lost.

The kill comes a few random milliseconds after that. Not covered: an instant within a step, such as one byte of a
conversion. `ATELIER_KILLS=20` makes it that many of each kind.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local import Stack
from services.artifacts.removals import Removals
from services.artifacts.sweeping import Sweeping
from shared.broker import Broker
from shared.database import Database
from shared.errors import AtelierError
from shared.objects import S3ObjectStore
from shared.payloads import HttpPayloadStore
from shared.process import Part
from shared.requests import Requests
from shared.settings import ObjectStoreSettings
from tests.faults.storing import PATIENCE_S, Storing, patiently
from tests.integration.artifacts.client import Client

KILLS = int(os.environ.get("ATELIER_KILLS", "2"))
STEPS = ["receiving", "announcing", "storing", "committing", "committed"]
DAY_S = 86_400.0


@pytest.fixture
async def client(fault_stack: Stack) -> AsyncIterator[Client]:
    """One tenant's view of the artifacts service, as gateway and worker have it."""
    access = fault_stack.s3
    objects = S3ObjectStore(
        ObjectStoreSettings(
            endpoint=access.endpoint,
            access_key=access.access_key,
            secret_key=SecretStr(access.secret_key),
            bucket=access.bucket,
            region=access.region,
        )
    )
    broker = Broker(fault_stack.amqp_url, name="tests")
    payloads = HttpPayloadStore(fault_stack.artifacts.url, key=fault_stack.folder.secret("internal"))
    requests = Requests(broker, payloads, source="tests")
    parts: list[Part] = [objects, broker, payloads, requests]
    for part in parts:
        await part.open()
    async with aiohttp.ClientSession() as session:
        yield Client(stack=fault_stack, broker=broker, requests=requests, objects=objects, session=session)
    for part in reversed(parts):
        await part.close()


@pytest.fixture
async def connection(fault_stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """A connection that holds locks."""
    connection = await asyncpg.connect(fault_stack.postgres_dsn)
    yield connection
    await connection.close()


async def sweep(client: Client) -> None:
    """What the sweeps do in the next two days; their rows are made older instead of waited for."""
    mine = f"{client.scope.tenant_id}/%"
    database = Database(client.stack.artifacts.environment()["ATELIER_ARTIFACTS_POSTGRES_DSN"], schema="artifacts")
    await database.open()
    removals = Removals(database, client.objects)
    try:
        await client.sql(
            "UPDATE process_lease SET expires_at = clock_timestamp() - interval '1 s' "
            "WHERE owner IN (SELECT owner FROM unsealed_object WHERE object_key LIKE $1)",
            mine,
        )
        await client.sql(
            "UPDATE unsealed_object SET created_at = created_at - interval '1 day' WHERE object_key LIKE $1", mine
        )
        await removals.sweep(datetime.now(UTC))
        sweeping = Sweeping(database, client.objects, removals, every_s=3600, after_s=DAY_S)
        await sweeping.sweep(datetime.now(UTC) + timedelta(days=2))
        await client.sql("UPDATE removal SET due_at = clock_timestamp() WHERE prefix LIKE $1", mine)
        async with asyncio.timeout(PATIENCE_S):
            while await client.sql("SELECT count(*) FROM removal WHERE prefix LIKE $1", mine):
                await removals.work_off()
    finally:
        await database.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", ["artifacts", "s3"])
async def test_nothing_partial_shows_and_nothing_is_left(
    fault_stack: Stack, client: Client, connection: asyncpg.Connection, victim: str, step: str
) -> None:
    sent: dict[UUID, bytes] = {}
    for seed in range(KILLS):
        storing = Storing(client, connection, random.Random(f"{victim} {step} {seed}"), sent)
        async with storing.held_at(fault_stack, step):
            under_way = asyncio.gather(storing.upload(), storing.register(), return_exceptions=True)
            await storing.reached(fault_stack, step)
            await asyncio.sleep(storing.chance.uniform(0, 0.02))
            await asyncio.to_thread(fault_stack[victim].kill)
        await asyncio.to_thread(fault_stack[victim].start)
        for outcome in await under_way:
            assert not isinstance(outcome, BaseException) or isinstance(outcome, (AtelierError, aiohttp.ClientError))
        listed, registered = await storing.datasets(), await storing.artifacts()
        if step == "committed":
            assert (len(listed), len(registered)) == (seed + 1, 2)
        dataset = await patiently(storing.upload)
        await patiently(storing.register)
        assert dataset.dataset_id in {one.dataset_id for one in await storing.datasets()}
        assert len(await storing.artifacts()) == 2
    referred = await client.sql(
        "SELECT array_agg(object_key ORDER BY object_key) FROM (SELECT object_key FROM dataset_version v "
        "JOIN dataset d USING (dataset_id) WHERE d.tenant_id = $1 UNION ALL SELECT object_key FROM artifact a "
        "JOIN manifest m USING (execution_id, epoch) WHERE m.tenant_id = $1 AND object_key IS NOT NULL) AS r",
        client.scope.tenant_id,
    )
    if (victim, step) == ("artifacts", "committing"):
        assert set(await client.keys()) > set(referred)  # the kill did leave something
    await sweep(client)
    assert sorted(await client.keys()) == sorted(referred)
    assert len(referred) == 2 * KILLS
    left = "SELECT count(*) FROM unsealed_object WHERE object_key LIKE $1"
    assert await client.sql(left, f"{client.scope.tenant_id}/%") == 0
