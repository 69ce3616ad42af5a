"""A stack of its own for tests that break it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from deploy.local import Stack
from tests.support.api import Api


@pytest.fixture(scope="package")
def fault_stack() -> Iterator[Stack]:
    """A whole stack, up and ready, to be broken."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-"))
    folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
    try:
        with Stack(folder / "f", slots=4) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def fault_api(fault_stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A new tenant of the stack that is broken."""
    return await Api.of(fault_stack, http)
