"""A stack of its own for tests that break it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from deploy.local import Stack
from shared.broker import Broker
from shared.objects import S3ObjectStore
from shared.payloads import HttpPayloadStore
from shared.process import Part
from shared.requests import Requests
from shared.settings import ObjectStoreSettings
from tests.integration.artifacts.client import Client
from tests.support.api import Api
from tests.support.stacks import private_stack

SHORT_LEASES = {"ATELIER_LEASE_S": "3", "ATELIER_HEARTBEAT_S": "0.5"}
"""So that work of killed processes is soon taken over; long enough that a busy machine's living ones keep theirs."""


@pytest.fixture(scope="package")
def fault_stack() -> Iterator[Stack]:
    """A whole stack, up and ready, to be broken. On SIGTERM its worker soon hands over."""
    with private_stack(slots=4, env={**SHORT_LEASES, "ATELIER_DRAIN_TIMEOUT": "1"}) as running:
        yield running


@pytest.fixture
async def fault_api(fault_stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A new tenant of the stack that is broken."""
    return await Api.of(fault_stack, http)


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
    requests = Requests(broker, payloads, source="tests", key=fault_stack.folder.secret("internal"))
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
