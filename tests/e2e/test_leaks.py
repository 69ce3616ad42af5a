"""Executions leave nothing behind: the short form of `make soak`, which counts and does not weigh."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.support.soaking import Soak, lost

SLOTS = 3

SEQUENTIAL, CONCURRENT = 30, 30
"""More than the spare descriptors: one that is lost at each run shows."""


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """Nobody else runs anything there."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-"))
    folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
    try:
        with Stack(folder / "l", slots=SLOTS) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def test_executions_leave_no_process_socket_file_or_descriptor(
    own_stack: Stack, http: aiohttp.ClientSession
) -> None:
    soak = Soak(own_stack, await Api.of(own_stack, http), slots=SLOTS)
    await soak.run(sequential=5, concurrent=10)
    before = await soak.settle()
    await soak.run(sequential=SEQUENTIAL, concurrent=CONCURRENT)
    after = await soak.settle()
    assert lost(before, after) == []
