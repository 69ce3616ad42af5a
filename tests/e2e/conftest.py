"""A stack for tests of run control: two slots, and kernels whose start can be held up; forked ones, or plain ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.support.stacks import private_folder, private_stack
from tests.support.standstill import environment_to_hold_up, interpreter_to_hold_up

SLOTS = 2
"""Runs at a time on that stack."""


@dataclass
class Controlled:
    """The stack, and the file that holds up kernels for as long as it exists."""

    stack: Stack
    hold: Path


@pytest.fixture(scope="package", params=["forked"])
def controlled(request: pytest.FixtureRequest) -> Iterator[Controlled]:
    """See the module. Kernels are forked, with all isolation that the machine allows, unless "plain" is asked for."""
    with private_folder() as folder:
        if request.param == "forked":
            settings, hold = environment_to_hold_up(folder)
        else:
            python, hold = interpreter_to_hold_up(folder)
            settings = {"ATELIER_KERNEL_PYTHON": str(python), "ATELIER_ISOLATION_MINIMUM": "none"}
        with private_stack(slots=SLOTS, service_env={"worker": settings}) as running:
            yield Controlled(running, hold)


@pytest.fixture
async def tenant(controlled: Controlled, http: aiohttp.ClientSession) -> Api:
    """A new tenant of that stack."""
    api = await Api.of(controlled.stack, http)
    api.is_described = True
    return api


@pytest.fixture
async def database(controlled: Controlled) -> AsyncIterator[asyncpg.Connection]:
    """That stack's database, as its owner sees it."""
    connection = await asyncpg.connect(controlled.stack.postgres_dsn)
    yield connection
    await connection.close()
