"""A stack of its own for the abuse suite, a probe beside it, and who judges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from deploy.local import Stack
from tests.abuse.judging import Court
from tests.abuse.probe import probing
from tests.support.stacks import private_stack

SLOTS = 4
"""Runs at a time: three inputs', and the probe's."""

QUIET_S = 3.0
"""How long the probe is alone, in seconds."""


@pytest.fixture(scope="package")
def abused() -> Iterator[Stack]:
    """A whole stack, up and ready."""
    with private_stack(slots=SLOTS) as running:
        yield running


@pytest.fixture(scope="package")
async def court(abused: Stack) -> AsyncIterator[Court]:
    """Judges inputs beside a probe whose quiet times are known."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session, probing(abused, session) as probe:
        court = Court(abused, session, probe)
        await court.measure_quiet(QUIET_S)
        yield court
