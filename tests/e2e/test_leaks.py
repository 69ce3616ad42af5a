"""Executions leave nothing behind: the short form of `make soak`, which counts and does not weigh."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.support.soaking import Soak, lost
from tests.support.stacks import private_stack

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow(reason="75 runs: less would not show what one of them loses"),
]

SLOTS = 3

SEQUENTIAL, CONCURRENT = 30, 30
"""More than the spare descriptors: one that is lost at each run shows."""


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """Nobody else runs anything there."""
    with private_stack(slots=SLOTS) as running:
        yield running


async def test_executions_leave_no_process_socket_file_or_descriptor(
    own_stack: Stack, http: aiohttp.ClientSession
) -> None:
    soak = Soak(own_stack, await Api.of(own_stack, http), slots=SLOTS)
    await soak.run(sequential=5, concurrent=10)
    before = await soak.settle()
    await soak.run(sequential=SEQUENTIAL, concurrent=CONCURRENT)
    after = await soak.settle()
    assert lost(before, after) == []
