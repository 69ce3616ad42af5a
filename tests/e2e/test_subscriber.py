"""`examples/subscriber.py` against the real stack: every enriched row once, whatever is killed, repeated or away."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import asyncpg
import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from deploy.local import Stack
from tests.support.api import Api
from tests.support.recorder import Recorder

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "subscriber.py"
PATIENCE_S = 60.0
CELL = """
from mindzie_sdk import ProcessMiningClient

client = ProcessMiningClient()
log = client.load_dataset()
log["position"] = range(len(log))
client.save_enriched_dataset(log, name="ranked")
"""


class Example:
    """The program with a schema of its own, and what it has written there."""

    def __init__(self, api: Api, stack: Stack, database: asyncpg.Connection, log: Path) -> None:
        self.api, self.database = api, database
        self.schema = f"subscriber_{uuid4().hex[:12]}"
        self.queue = f"subscriber.{self.schema}.{api.project}"
        self.log = log
        self.processes: list[asyncio.subprocess.Process] = []
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "error",
            "ATELIER_URL": stack.url,
            "ATELIER_TENANT": api.tenant,
            "ATELIER_PROJECT": api.project,
            "ATELIER_API_KEY": api.key,
            "ATELIER_AMQP_URL": stack.amqp_url,
            "SUBSCRIBER_POSTGRES_DSN": stack.postgres_dsn,
            "SUBSCRIBER_SCHEMA": self.schema,
        }

    async def start(self, **changes: str) -> asyncio.subprocess.Process:
        """Start the program; returns once it listens."""
        began = self.log.read_text().count("listening on") if self.log.exists() else 0
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(PROGRAM), env={**self.environment, **changes}, stdout=log, stderr=log
            )
        self.processes.append(process)
        await self.until(lambda: self.log.read_text().count("listening on") > began, process)
        return process

    async def until(self, done: Callable[[], bool], process: asyncio.subprocess.Process | None = None) -> None:
        """Return when `done()`; fails with the program's log when it ends before, or after PATIENCE_S."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            if time.monotonic() > deadline or (process is not None and process.returncode is not None):
                pytest.fail(f"the program did not come so far:\n{self.log.read_text()}")
            await asyncio.sleep(0.05)

    async def rows(self, execution_id: str) -> int:
        """How many rows of a run are in the table."""
        count = await self.database.fetchval(
            f"SELECT count(*) FROM {self.schema}.enriched_row WHERE execution_id = $1", UUID(execution_id)
        )
        return int(count)

    async def until_taken_over(self, execution_id: str) -> None:
        """Return when the run is in the table of runs."""
        deadline = time.monotonic() + PATIENCE_S
        statement = f"SELECT true FROM {self.schema}.enriched_run WHERE execution_id = $1"
        while not await self.database.fetchval(statement, UUID(execution_id)):
            if time.monotonic() > deadline:
                pytest.fail(f"the run was not taken over:\n{self.log.read_text()}")
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await self.database.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")


@pytest.fixture(scope="module")
async def notebook(api: Api, simulated_log: Path) -> dict[str, Any]:
    dataset = await api.upload_dataset(simulated_log, "subscriber's log")
    binding = {"enrichmentMode": True, "datasetBinding": dataset["datasetId"]}
    return {**await api.create(CELL, integration=binding), "rows": dataset["recordCount"]}


@pytest.fixture
async def example(api: Api, stack: Stack, tmp_path: Path) -> AsyncIterator[Example]:
    database = await asyncpg.connect(stack.postgres_dsn)
    made = Example(api, stack, database, tmp_path / "subscriber.log")
    try:
        yield made
    finally:
        await made.end()
        await database.close()
        connection = await aio_pika.connect(stack.amqp_url)
        async with connection:
            await (await connection.channel()).queue_delete(made.queue)


async def test_rows_arrive_as_they_are_and_the_program_ends_well(
    api: Api, example: Example, notebook: dict[str, Any]
) -> None:
    process = await example.start()
    execution = await api.run(notebook["notebookId"])
    assert execution["status"] == "Completed", execution
    await example.until_taken_over(execution["executionId"])
    results = await api.results(execution)
    async with api.session.get(results["enrichedDatasets"][0]["downloadUrl"]) as answer:
        expected = list(csv.DictReader(io.StringIO(await answer.text())))
    stored = await example.database.fetch(f"SELECT dataset, data FROM {example.schema}.enriched_row ORDER BY number")
    assert {row["dataset"] for row in stored} == {"ranked"}
    assert [orjson.loads(row["data"]) for row in stored] == expected
    assert len(expected) == notebook["rows"] == execution["outputs"]["enrichedData"]["recordCount"]

    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 15) == 0, example.log.read_text()


async def test_killed_in_the_middle_of_a_copy(
    api: Api, stack: Stack, example: Example, notebook: dict[str, Any]
) -> None:
    process = await example.start()
    async with holding_up(stack, f"{example.schema}.enriched_row") as waiting:
        execution = await api.run(notebook["notebookId"])
        deadline = time.monotonic() + PATIENCE_S
        while not await waiting():
            assert time.monotonic() < deadline, example.log.read_text()
            await asyncio.sleep(0.05)
        process.kill()  # its run is entered in `enriched_run`, but that is not committed
        await process.wait()

    again = await example.start()
    await example.until_taken_over(execution["executionId"])
    assert await example.rows(execution["executionId"]) == notebook["rows"]
    assert again.returncode is None


@asynccontextmanager
async def holding_up(stack: Stack, table: str) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Lets nobody write to `table`; gives a question whether somebody waits to copy into it."""
    database = await asyncpg.connect(stack.postgres_dsn)
    statement = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = $1::regclass AND NOT granted)"

    async def waiting() -> bool:
        return bool(await database.fetchval(statement, table))

    try:
        async with database.transaction():
            await database.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")  # others may still read it
            yield waiting
    finally:
        await database.close()


async def test_an_event_that_comes_three_times_counts_once(
    api: Api, stack: Stack, example: Example, notebook: dict[str, Any]
) -> None:
    pattern = f"execution.completed.{api.tenant}.{api.project}.#"
    async with Recorder(stack.amqp_url, pattern, f"test.subscriber.{uuid4()}") as recorder:
        await example.start()
        execution = await api.run(notebook["notebookId"])
        await example.until_taken_over(execution["executionId"])
        await recorder.until_terminal({execution["executionId"]})
        event = recorder.events[-1]
    await publish_twice(stack, event)
    following = await api.run(notebook["notebookId"])
    await example.until_taken_over(following["executionId"])  # it comes after the two, and one is handled at a time
    assert example.log.read_text().count(f"skipped {execution['executionId']}") == 2
    for run in (execution, following):
        assert await example.rows(run["executionId"]) == notebook["rows"]


async def publish_twice(stack: Stack, event: dict[str, Any]) -> None:
    data = event["data"]
    key = ".".join([event["type"], event["tenantid"], event["projectid"], data["notebookId"], data["executionId"]])
    connection = await aio_pika.connect(stack.amqp_url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("atelier.events", ensure=False)
        for _ in range(2):
            await exchange.publish(aio_pika.Message(orjson.dumps(event)), routing_key=key)


async def test_an_api_that_fails_is_asked_again_after_a_pause(
    api: Api, stack: Stack, example: Example, notebook: dict[str, Any]
) -> None:
    asked: list[float] = []
    async with failing_twice(stack.url, asked) as url:
        await example.start(ATELIER_URL=url)
        execution = await api.run(notebook["notebookId"])
        await example.until_taken_over(execution["executionId"])
    assert await example.rows(execution["executionId"]) == notebook["rows"]
    first, second, third = asked
    assert second - first > 0.9
    assert third - second > 1.9


@asynccontextmanager
async def failing_twice(url: str, asked: list[float]) -> AsyncIterator[str]:
    """The API behind a door that answers 503 to the first two questions for results."""
    async with ClientSession() as session:

        async def door(request: web.Request) -> web.Response:
            if request.path.endswith("/results"):
                asked.append(time.monotonic())
                if len(asked) < 3:
                    return web.json_response({"detail": "away"}, status=503)
            headers = {"Authorization": request.headers.get("Authorization", "")}
            async with session.get(url + request.path_qs, headers=headers) as answer:
                return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

        application = web.Application()
        application.router.add_get("/{path:.*}", door)
        server = TestServer(application)
        await server.start_server()
        try:
            yield str(server.make_url("")).rstrip("/")
        finally:
            await server.close()


async def test_what_is_no_event_is_set_aside(
    api: Api, stack: Stack, example: Example, notebook: dict[str, Any]
) -> None:
    process = await example.start()
    connection = await aio_pika.connect(stack.amqp_url)
    async with connection:
        channel = await connection.channel()
        for body in (b"not JSON", b"{}", b'{"specversion": "1.0", "type": "execution.failed"}', b"[]"):
            await channel.default_exchange.publish(aio_pika.Message(body), routing_key=example.queue)
    execution = await api.run(notebook["notebookId"])
    await example.until_taken_over(execution["executionId"])
    assert example.log.read_text().count("set aside") == 4
    assert process.returncode is None


@pytest.mark.parametrize("missing", ["ATELIER_AMQP_URL", "SUBSCRIBER_POSTGRES_DSN"])
async def test_a_missing_setting_is_named(example: Example, missing: str) -> None:
    environment = {name: value for name, value in example.environment.items() if name != missing}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, error = await process.communicate()
    assert process.returncode == 1
    assert f"set {missing};" in error.decode()


async def test_a_key_of_another_project_is_refused_at_once(example: Example) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        env={**example.environment, "ATELIER_PROJECT": str(uuid4()), "ATELIER_TENANT": str(uuid4())},
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    assert process.returncode == 1
    assert "does not see this project" in error.decode()
