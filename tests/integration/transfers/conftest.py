"""Gateways and artifacts with a RabbitMQ, a PostgreSQL and an S3 server of their own: bytes go through both."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from deploy.local import Stack
from tests.integration.transfers.gate import Gate
from tests.support.api import Api

MEMBERS = ["rabbitmq", "postgres", "s3", "artifacts", "gateway", "gateway-2"]

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
    folder = Path(tempfile.mkdtemp(prefix="atelier-transfers-"))
    folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
    own = {
        "gateway-2": {"ATELIER_UPLOAD_SILENCE_S": str(SILENCE_S)},
        "artifacts": {"ATELIER_S3_ENDPOINT": gate.url},
    }
    stack = Stack(folder / "t", service_env=own, replicas={"gateway": 2})
    gate.behind = lambda: stack.object_store.access.endpoint
    stack.end_with_this_process()
    try:
        await asyncio.to_thread(stack.up, only=MEMBERS)
        yield stack
    finally:
        await asyncio.to_thread(stack.delete)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
async def patient(transfers_stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A tenant, as the first gateway shows it."""
    return await Api.of(transfers_stack, http)


@pytest.fixture(scope="package")
async def impatient(transfers_stack: Stack, patient: Api) -> Api:
    """The same tenant at the second gateway."""
    base = transfers_stack.services["gateway-2"].url
    return Api(base, patient.session, tenant=patient.tenant, project=patient.project, key=patient.key)
