"""Gateways and artifacts with a RabbitMQ, a PostgreSQL and an S3 server of their own: bytes go through both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import aiohttp
import pytest

from deploy.local import Stack
from tests.integration.transfers.gate import Gate
from tests.support.api import Api
from tests.support.stacks import private_stack

SERVERS, SERVICES = ["rabbitmq", "postgres", "s3"], ["catalog", "artifacts", "gateway", "gateway-2"]

LOG_LINES, LOG_LINE = 12, 300
"""How much of a log is shown: its last lines, and so many characters of each."""

SILENCE_S = 1.5
"""How long the second gateway puts up with silence, in seconds."""


@pytest.fixture(scope="package")
async def gate() -> AsyncIterator[Gate]:
    """What stands between artifacts and its object store."""
    gate = Gate()
    await gate.start()
    yield gate
    await gate.stop()


@pytest.fixture(scope="package")
async def transfers_stack(gate: Gate) -> AsyncIterator[Stack]:
    """The servers and the two services. The second gateway has little patience."""
    own = {
        "gateway-2": {"ATELIER_UPLOAD_SILENCE_S": str(SILENCE_S)},
        "artifacts": {"ATELIER_S3_ENDPOINT": gate.url},
    }
    # In a thread: the gate lets requests pass in this one's loop.
    opened = ExitStack()
    stack = await asyncio.to_thread(
        opened.enter_context, private_stack(only=SERVERS, service_env=own, replicas={"gateway": 2})
    )
    gate.behind = lambda: stack.object_store.access.endpoint
    try:
        await asyncio.to_thread(stack.up, only=SERVICES)
        yield stack
    finally:
        await asyncio.to_thread(opened.close)


@pytest.fixture(autouse=True)
def logs_of_failures(request: pytest.FixtureRequest, transfers_stack: Stack) -> Iterator[None]:
    """Show how the services' logs end where a test has failed: what stands still shows nowhere else."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        for name in SERVICES:
            lines = transfers_stack.services[name].log.read_text(errors="replace").splitlines()
            print(name, *(line[:LOG_LINE] for line in lines[-LOG_LINES:]), sep="\n  ")


@pytest.fixture(scope="package")
async def patient(transfers_stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A tenant, as the first gateway shows it."""
    return await Api.of(transfers_stack, http)


@pytest.fixture(scope="package")
async def impatient(transfers_stack: Stack, patient: Api) -> Api:
    """The same tenant at the second gateway."""
    base = transfers_stack.services["gateway-2"].url
    return Api(base, patient.session, tenant=patient.tenant, project=patient.project, key=patient.key)
