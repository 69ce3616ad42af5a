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
import random
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from shared.errors import AtelierError
from tests.faults.storing import Storing, patiently, referred, sweep
from tests.integration.artifacts.client import Client
from tests.support.long import count, others_are_long

KILLS = count("ATELIER_KILLS", usual=1, long=20)
STEPS = ["receiving", "announcing", "storing", "committing", "committed"]
CASES = [(victim, step) for victim in ("artifacts", "s3") for step in STEPS]
USUAL = [*(("artifacts", step) for step in STEPS), ("s3", "storing"), ("s3", "committed")]
"""The store has an object in hand at one step alone, and has just had one at another."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("victim", "step"), others_are_long(CASES, USUAL, several=True))
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
            assert (len(listed), len(registered)) == (seed + 1, 4)
        dataset = await patiently(storing.upload)
        await patiently(storing.register)
        assert dataset.dataset_id in {one.dataset_id for one in await storing.datasets()}
        assert len(await storing.artifacts()) == 4
    named = await referred(client)
    if (victim, step) == ("artifacts", "committing"):
        assert set(await client.keys()) > set(named)  # the kill did leave something
    await sweep(client)
    assert sorted(await client.keys()) == sorted(named)
    assert len(named) == 3 * KILLS
    left = "SELECT count(*) FROM unsealed_object WHERE object_key LIKE $1"
    assert await client.sql(left, f"{client.scope.tenant_id}/%") == 0
