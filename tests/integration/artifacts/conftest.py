"""A real artifacts process with a RabbitMQ, a PostgreSQL and an S3 server of its own, driven over the bus and HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest
from pydantic import SecretStr

from deploy.local import Stack
from shared.broker import Broker
from shared.objects import S3ObjectStore
from shared.payloads import HttpPayloadStore
from shared.requests import Requests
from shared.settings import ObjectStoreSettings
from tests.integration.artifacts.client import Client
from tests.support.polling import until
from tests.support.stacks import private_stack

SERVERS = ["rabbitmq", "postgres", "s3"]


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """The servers and the one service, which is told that clients reach the object store under another name."""
    settings: dict[str, str] = {}
    with private_stack(only=SERVERS, service_env={"artifacts": settings}) as stack:
        settings["ATELIER_S3_PUBLIC_ENDPOINT"] = f"http://localhost:{stack['s3'].port}"
        stack.up(only=["artifacts"])
        yield stack


@pytest.fixture(scope="package")
async def objects(stack: Stack) -> AsyncIterator[S3ObjectStore]:
    """The object store, as the worker uses it."""
    access = stack.s3
    store = S3ObjectStore(
        ObjectStoreSettings(
            endpoint=access.endpoint,
            access_key=access.access_key,
            secret_key=SecretStr(access.secret_key),
            bucket=access.bucket,
            region=access.region,
        )
    )
    await store.open()
    yield store
    await store.close()


@pytest.fixture(scope="package")
async def broker(stack: Stack) -> AsyncIterator[Broker]:
    """The bus."""
    broker = Broker(stack.amqp_url, name="tests")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture(scope="package")
async def requests(stack: Stack, broker: Broker) -> AsyncIterator[Requests]:
    """The asking side of the bus."""
    payloads = HttpPayloadStore(stack.artifacts.url, key=stack.folder.secret("internal"))
    await payloads.open()
    requests = Requests(broker, payloads, source="tests", key=stack.folder.secret("internal"))
    await requests.open()
    yield requests
    await payloads.close()


@pytest.fixture
async def client(stack: Stack, broker: Broker, requests: Requests, objects: S3ObjectStore) -> AsyncIterator[Client]:
    """One tenant's view of the service; each test has a tenant of its own."""
    async with aiohttp.ClientSession() as session:
        yield Client(stack=stack, broker=broker, requests=requests, objects=objects, session=session)


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Waits until something is so; fails after a while."""
    return until
