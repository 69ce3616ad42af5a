"""Copies the enriched datasets of completed runs into a PostgreSQL table, each run exactly once.

    make up
    . .atelier/dev.env                          # ATELIER_URL, ATELIER_TENANT, ATELIER_PROJECT, ATELIER_API_KEY
    export ATELIER_AMQP_URL=amqp://user:password@host:5672/vhost
    export SUBSCRIBER_POSTGRES_DSN=postgresql://user:password@host:5432/database
    python examples/subscriber.py

It needs Python 3.11 and the packages aio-pika, asyncpg and aiohttp; nothing of Atelier. `SUBSCRIBER_SCHEMA` names the
schema that it makes and fills (default `enriched`):

- `enriched_run`: one row a run that was taken over, with the number of its rows;
- `enriched_row`: one row a row of an enriched dataset, as JSON of column name and text.

How a row arrives exactly once, although a message may arrive twice:

1. A durable queue of its own, bound to `execution.completed.<tenant>.<project>.#`, keeps events while this program is
   away. The queue is a classic one: a quorum queue drops a message that came back too often (RabbitMQ 4: after 20).
2. A message is acknowledged only after the commit. Killed before that, the program gets it again.
3. The id of the run goes into `enriched_run`, its primary key, in the transaction that copies the rows. An event that
   comes again finds it there and is skipped. Two of these programs on one queue share the work: the second to insert
   waits for the first.
4. When the API or the database is away, the message stays unacknowledged and the work is tried again after a pause. It
   is never sent back to the queue: that would only turn it round and round.

SIGTERM lets the run in hand finish, then ends with exit code 0. `kill -9` at any moment is harmless.
"""

from __future__ import annotations

import asyncio
import csv
import json
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import aio_pika
import aiohttp
import asyncpg
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

EXCHANGE = "atelier.events"
PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""First and longest pause before something is tried again, in seconds."""

SILENCE_S = 60.0
"""A download that moves nothing for so long is given up and begun again, in seconds."""

ROWS_AT_ONCE = 1_000
"""Rows read between two looks at the network: while rows are read nothing else happens."""

TABLES = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.enriched_run (
    execution_id uuid        PRIMARY KEY,
    notebook_id  uuid        NOT NULL,
    row_count    bigint      NOT NULL,
    loaded_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS {schema}.enriched_row (
    execution_id uuid   NOT NULL,
    dataset      text   NOT NULL,
    number       bigint NOT NULL,      -- 1, 2, 3 … within the dataset
    data         jsonb  NOT NULL,      -- column name: text of the value; an empty text is an empty value
    PRIMARY KEY (execution_id, dataset, number)
);
"""

T = TypeVar("T")
log = logging.getLogger("subscriber")


class TryAgain(Exception):
    """Something is away or not whole; the same may work later."""


class Stopping(Exception):
    """The program was told to stop while it waited."""


DATABASE_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
RETRIED = (TryAgain, aiohttp.ClientError, AMQPError, OSError, TimeoutError, ValueError, csv.Error, *DATABASE_FAULTS)
"""What a pause may put right; the last ones are a file or an answer that is not whole."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says."""

    api: str  # base address of the project
    api_key: str
    amqp_url: str
    postgres_dsn: str
    schema: str
    topic: str
    queue: str

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads the variables; ends the program with a sentence when one is missing or wrong."""
        names = ("URL", "TENANT", "PROJECT", "API_KEY", "AMQP_URL")
        wanted = [*(f"ATELIER_{name}" for name in names), "SUBSCRIBER_POSTGRES_DSN"]
        missing = [name for name in wanted if not os.environ.get(name)]
        if missing:
            sys.exit(f"set {', '.join(missing)}; the head of {__file__} says how")
        url, tenant, project, key, amqp_url, dsn = (os.environ[name] for name in wanted)
        schema = os.environ.get("SUBSCRIBER_SCHEMA", "enriched")
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema):
            sys.exit("SUBSCRIBER_SCHEMA must be a name of small letters, digits and underscores")
        return cls(
            api=f"{url.rstrip('/')}/api/{tenant}/{project}",
            api_key=key,
            amqp_url=amqp_url,
            postgres_dsn=dsn,
            schema=schema,
            topic=f"execution.completed.{tenant.lower()}.{project.lower()}.#",
            queue=f"subscriber.{schema}.{project.lower()}",
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has completed, as its event says."""

    execution_id: UUID
    notebook_id: UUID

    @classmethod
    def of_event(cls, body: bytes) -> Run:
        """Reads a CloudEvent. Raises ValueError, KeyError or TypeError when it is none of ours."""
        event = json.loads(body)
        if event["specversion"] != "1.0" or event["type"] != "execution.completed":
            raise ValueError(f"an event of type {event['type']!r}")
        return cls(execution_id=UUID(event["data"]["executionId"]), notebook_id=UUID(event["data"]["notebookId"]))


class Subscriber:
    """Takes one message after the other."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.stopping = asyncio.Event()
        self._settings = settings
        self._http = http
        self._pool = pool

    async def run(self) -> None:
        """Prepares the tables and the queue, then works until it is told to stop."""
        await self._until_it_works("look at the project", self._look_at_project)
        await self._until_it_works("make the tables", self._make_tables)
        connection = await self._until_it_works(
            "reach the broker", lambda: aio_pika.connect_robust(self._settings.amqp_url, reconnect_interval=1)
        )
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=1)  # one run in hand; the rest stays in the queue, for others too
            queue = await channel.declare_queue(self._settings.queue, durable=True)
            await queue.bind(EXCHANGE, self._settings.topic)
            inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            await queue.consume(inbox.put)
            log.info("listening on %s", self._settings.queue)
            while (message := await self._next(inbox)) is not None:
                await self._handle(message)

    async def _next(self, inbox: asyncio.Queue[AbstractIncomingMessage]) -> AbstractIncomingMessage | None:
        """The next message, or None when it is time to stop."""
        getting = asyncio.ensure_future(inbox.get())
        stop = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({getting, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self.stopping.is_set():
            getting.cancel()  # what was in it was not acknowledged and comes again
            return None
        return getting.result()

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        try:
            run = Run.of_event(message.body)
        except (ValueError, KeyError, TypeError) as error:
            log.error("set aside, it is no event of a completed run: %s", error)
            settling = message.reject(requeue=False)
        else:
            await self._until_it_works(f"take over {run.execution_id}", lambda: self._take_over(run))
            settling = message.ack()
        try:
            await settling
        except (AMQPError, ChannelInvalidStateError, OSError) as error:
            log.warning("not acknowledged (%s); it comes again and will be skipped", type(error).__name__)

    async def _take_over(self, run: Run) -> None:
        """Fetches what the run enriched and writes it down, unless that was done before."""
        schema = self._settings.schema
        async with self._pool.acquire(timeout=PAUSE_S * 10) as database:
            done = await database.fetchval(
                f"SELECT true FROM {schema}.enriched_run WHERE execution_id = $1", run.execution_id
            )
        if done:
            log.info("skipped %s: it was taken over before", run.execution_id)
            return
        with tempfile.TemporaryDirectory(prefix="subscriber-") as folder:
            files = await self._fetch(run, Path(folder))
            async with self._pool.acquire(timeout=PAUSE_S * 10) as database, database.transaction():
                new = await database.fetchval(
                    f"INSERT INTO {schema}.enriched_run (execution_id, notebook_id, row_count) VALUES ($1, $2, $3) "
                    "ON CONFLICT DO NOTHING RETURNING true",
                    run.execution_id,
                    run.notebook_id,
                    sum(expected for _, _, expected in files),
                )
                if not new:
                    log.info("skipped %s: another subscriber was faster", run.execution_id)
                    return
                for name, path, expected in files:
                    status = await database.copy_records_to_table(
                        "enriched_row", schema_name=schema, records=_records(run.execution_id, name, path)
                    )
                    if status != f"COPY {expected}":
                        raise TryAgain(f"{name} has {expected} rows, but {status}")
        log.info("took over %s: %s", run.execution_id, ", ".join(f"{name} ({rows})" for name, _, rows in files) or "-")

    async def _fetch(self, run: Run, folder: Path) -> list[tuple[str, Path, int]]:
        """Downloads every enriched dataset as CSV; returns name, file and number of rows of each."""
        address = f"{self._settings.api}/notebook/{run.notebook_id}/execution/{run.execution_id}/results"
        async with self._get(address, outputType="data", format="summary") as answer:
            if answer.status == 404:
                log.warning("%s was deleted before it could be taken over", run.execution_id)
                return []
            results: dict[str, Any] = await answer.json()
        files = []
        for number, dataset in enumerate(results["enrichedDatasets"]):
            if "csv" not in dataset["downloadUrls"]:
                log.warning("%s of %s has no CSV form (outputFormat)", dataset["name"], run.execution_id)
                continue
            path = folder / f"{number}.csv"
            async with self._http.get(dataset["downloadUrls"]["csv"]) as answer:  # signed: it needs no header
                if answer.status != 200:
                    raise TryAgain(f"the download answered {answer.status}")
                with path.open("wb") as file:
                    async for piece in answer.content.iter_chunked(256 * 1024):
                        file.write(piece)
            files.append((dataset["name"], path, dataset["recordCount"]))
        return files

    def _get(self, address: str, **query: str) -> aiohttp.client._RequestContextManager:
        """GET with the key. The session's `raise_for_status` turns every answer but 200 and 404 into TryAgain."""
        return self._http.get(
            address,
            params=query,
            headers={"Authorization": f"Bearer {self._settings.api_key}"},
            raise_for_status=_refuse,
        )

    async def _look_at_project(self) -> None:
        """A wrong key must not look like runs that were deleted: both are 404."""
        async with self._get(f"{self._settings.api}/notebooks", pageSize="1") as answer:
            if answer.status == 404:
                sys.exit("the API key does not see this project")

    async def _make_tables(self) -> None:
        async with self._pool.acquire(timeout=PAUSE_S * 10) as database, database.transaction():
            await database.execute("SELECT pg_advisory_xact_lock(hashtext('subscriber'))")  # two may start at once
            await database.execute(TABLES.format(schema=self._settings.schema))

    async def _until_it_works(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeats `attempt` with growing pauses. Raises Stopping when it is time to stop."""
        pause = PAUSE_S
        while True:
            try:
                return await attempt()
            except RETRIED as error:
                log.warning("could not %s, next try in %.0f s: %s %s", what, pause, type(error).__name__, error)
            try:
                await asyncio.wait_for(self.stopping.wait(), pause)
            except TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                raise Stopping


async def _refuse(answer: aiohttp.ClientResponse) -> None:
    if answer.status not in (200, 404):
        raise TryAgain(f"the API answered {answer.status}: {(await answer.text())[:300]}")


async def _records(execution_id: UUID, dataset: str, path: Path) -> AsyncIterator[tuple[UUID, str, int, str]]:
    """The rows of a CSV file as rows of `enriched_row`; the file may be larger than memory."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        columns = [column.replace("\0", "") for column in next(rows, [])]  # jsonb takes no NUL
        numbered = enumerate(rows, start=1)
        while batch := await asyncio.to_thread(_batch, numbered):
            for number, row in batch:
                values = [value.replace("\0", "") for value in row or [""]]  # a lone empty value is an empty line
                data = dict(zip(columns, values, strict=True))
                yield execution_id, dataset, number, json.dumps(data, ensure_ascii=False)


def _batch(rows: Iterator[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    return list(islice(rows, ROWS_AT_ONCE))


async def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    settings = Settings.from_environment()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        asyncpg.create_pool(
            settings.postgres_dsn,
            min_size=0,  # so that it is not needed yet
            max_size=2,
            server_settings={"application_name": "atelier-subscriber"},
        ) as pool,
    ):
        subscriber = Subscriber(settings, http, pool)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, subscriber.stopping.set)
        try:
            await subscriber.run()
        except Stopping:
            log.info("told to stop while it waited; what was in hand stays in the queue")
    log.info("stopped")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # aio_pika says each lost connection, once
    logging.getLogger("aio_pika").setLevel(logging.WARNING)
    csv.field_size_limit(2**31 - 1)  # a cell may hold a long text
    asyncio.run(main())
