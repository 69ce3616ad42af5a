"""Three catalogs, killed at random while ten hours of schedules pass: each time starts one execution, and one only."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from tests.faults.conftest import SHORT_LEASES
from tests.support.api import Api
from tests.support.clock import Clock
from tests.support.recorder import Recorder
from tests.support.stacks import private_stack

pytestmark = pytest.mark.slow(reason="ten hours of schedules pass, with catalogs killed meanwhile")

EVENING = datetime(2026, 10, 24, 18, 0, tzinfo=UTC)
"""The clocks of Europe go back within the ten hours that follow, at 01:00 UTC."""

HOURS, STEP = 10, timedelta(minutes=5)
REPLICAS = ["catalog", "catalog-2", "catalog-3"]
ALL = "notebook_id = ANY($1::uuid[])"
SCHEDULES = {
    "*/5 * * * *": 120,
    "7-59/15 * * * *": 40,
    "30 2 * * *": 1,  # 02:30 in Amsterdam comes twice and fires once
    "30 */1 * * *": 10,
}


@pytest.fixture(scope="module")
def three_catalogs() -> Iterator[Stack]:
    with private_stack(slots=4, env=SHORT_LEASES, replicas={"catalog": len(REPLICAS)}) as running:
        yield running


@pytest.fixture
async def clock(three_catalogs: Stack) -> AsyncIterator[Clock]:
    clock = Clock(three_catalogs.postgres_dsn)
    await clock.set(EVENING)
    yield clock
    await clock.give_back()


async def kill_at_random(stack: Stack, until: asyncio.Event) -> int:
    """Kill one replica after the other, now and then two at once, and start them again; returns how many."""
    chance = random.Random(5)
    killed = 0
    while not until.is_set():
        await asyncio.sleep(chance.uniform(0.1, 1.5))
        victims = chance.sample(REPLICAS, chance.choice([1, 1, 2]))
        for victim in victims:
            await asyncio.to_thread(stack[victim].kill)
        killed += len(victims)
        await asyncio.gather(*(asyncio.to_thread(stack[victim].start) for victim in victims))
    return killed


async def until_value(connection: asyncpg.Connection, wanted: int, statement: str, *arguments: object) -> None:
    async with asyncio.timeout(120):
        while await connection.fetchval(statement, *arguments) != wanted:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(900)
async def test_each_time_fires_once(three_catalogs: Stack, clock: Clock, http: aiohttp.ClientSession) -> None:
    api = await Api.of(three_catalogs, http)
    settings = {"scheduleTimeZone": "Europe/Amsterdam", "scheduleOverlap": "queue"}
    notebooks = {
        line: (await api.create("1 + 1", integration={**settings, "scheduleExecution": line}))["notebookId"]
        for line in SCHEDULES
    }
    ids = list(notebooks.values())
    connection = await asyncpg.connect(three_catalogs.postgres_dsn)
    stop = asyncio.Event()
    try:
        async with Recorder(three_catalogs.amqp_url, f"schedule.*.{api.tenant}.#", f"test.{uuid4()}") as recorder:
            killing = asyncio.create_task(kill_at_random(three_catalogs, stop))
            for number in range(1, HOURS * 12 + 1):
                now = EVENING + number * STEP
                await clock.set(now)
                left = f"SELECT count(*) FROM catalog.automation WHERE {ALL} AND due_at <= $2"
                await until_value(connection, 0, left, ids, now)
            stop.set()
            killed = await killing
            pending = f"SELECT count(*) FROM catalog.fire WHERE {ALL} AND state <> 'started'"
            await until_value(connection, 0, pending, ids)
            ended = f"SELECT count(*) FROM executor.execution WHERE {ALL} AND state = 'Completed'"
            await until_value(connection, sum(SCHEDULES.values()), ended, ids)
            async with asyncio.timeout(60):
                while len({event["id"] for event in recorder.events}) < sum(SCHEDULES.values()):
                    await asyncio.sleep(0.05)
        runs = await connection.fetch(
            f"SELECT notebook_id::text, trigger::text FROM executor.execution WHERE {ALL}", ids
        )
    finally:
        stop.set()
        await connection.close()
    assert killed >= 6  # a busy machine takes seconds to start one again
    times = Counter((run["notebook_id"], json.loads(run["trigger"])["fireTime"]) for run in runs)
    assert set(times.values()) == {1}
    assert {line: sum(key[0] == notebook for key in times) for line, notebook in notebooks.items()} == SCHEDULES
    told = Counter(event["data"]["fireId"] for event in {event["id"]: event for event in recorder.events}.values())
    assert set(told.values()) == {1}
    assert {event["type"] for event in recorder.events} == {"schedule.fired"}
