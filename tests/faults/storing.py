"""An upload and a registration that are stopped at a named step, so that something can be killed just there.

The services know nothing of it. A step is held from outside: the sender keeps back half of the file, a lock on a table
keeps a statement waiting, or the S3 server is stopped (SIGSTOP) while an object goes to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from deploy.local import Stack
from services.artifacts.removals import Removals
from services.artifacts.sweeping import Sweeping
from shared import replies
from shared.contracts.datasets import Dataset, DatasetPage, ListDatasets, UploadTicket
from shared.contracts.results import ArtifactEntry
from shared.database import Database
from shared.errors import AtelierError
from tests.faults.in_flight import bodies_in_flight
from tests.integration.artifacts.client import Client, entry

T = TypeVar("T")

DAY_S = 86_400.0

PATIENCE_S = 90.0
"""How long anything may take, in seconds: a restart on a busy machine included."""

ROWS = 20_000
OBJECT_BYTES, PACKED_BYTES = 3_000_000, 60_000
"""More than travels in a manifest's row."""

HELD: dict[str, dict[str, str]] = {
    "announcing": {"unsealed_object": "INSERT INTO unsealed_object", "manifest": "INSERT INTO manifest"},
    "committing": {"dataset_version": "INSERT INTO dataset_version", "artifact": "INSERT INTO artifact"},
}
"""The tables that are locked to hold a step, and the statement that then waits."""


async def patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Try again, as callers do, while something is away."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await step()
            except (AtelierError, aiohttp.ClientError):
                await asyncio.sleep(0.1)


@dataclass
class Storing:
    """One dataset on its way in and one run's artifacts on their way into a manifest."""

    client: Client
    database: asyncpg.Connection
    chance: random.Random
    sent: dict[UUID, bytes]
    """The files of all uploads so far, this one's included."""
    dataset_id: UUID = field(default_factory=uuid4)
    run: UUID = field(default_factory=uuid4)
    notebook: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        moments = (f"2020-01-{1 + n % 28:02}T10:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(ROWS))
        lines = (f"c{self.chance.randbytes(12).hex()},Register,{moment}" for moment in moments)
        self.log = ("case_id,activity,timestamp\n" + "\n".join(lines) + "\n").encode()
        self.sent[self.dataset_id] = self.log
        self.object = self.chance.randbytes(OBJECT_BYTES)
        self.small = entry(self.chance.randbytes(100), position=1)
        self.outputs = [self.chance.randbytes(PACKED_BYTES) for _ in range(2)]
        self.entries: list[ArtifactEntry] = []
        self.ticket: UploadTicket | None = None
        self.half_sent, self.go_on = asyncio.Event(), asyncio.Event()

    async def upload(self) -> Dataset:
        """Send the file; the second half when `go_on` is set. Sending it again carries the same id."""
        self.ticket = self.ticket or await self.client.ticket(self.dataset_id)

        async def pieces() -> AsyncIterator[bytes]:
            middle = self.chance.randrange(1, len(self.log))
            yield self.log[:middle]
            self.half_sent.set()
            await self.go_on.wait()
            yield self.log[middle:]

        headers = {"Authorization": f"Ticket {self.ticket.ticket}"}
        async with self.client.session.put(self.ticket.url, data=pieces(), headers=headers) as answer:
            reply = replies.decode(await answer.read())
        reply.raise_error()
        return Dataset.model_validate(reply.data)

    async def register(self) -> None:
        """Store an object and a pack and register what is in them, with another artifact, in two messages, as a worker
        does."""
        if not self.entries:
            stored = await self.client.stored(self.run, str(uuid4()), self.object, kind="model", position=2)
            packed = await self.client.packed(self.run, self.outputs, first=3)
            self.entries = [self.small, stored, *packed]
        await self.client.seal(self.run, self.notebook, [self.small], final=False)
        await self.client.seal(self.run, self.notebook, self.entries)

    @asynccontextmanager
    async def held_at(self, stack: Stack, step: str) -> AsyncIterator[None]:
        """Keep both from getting past the step; returns with the context when whatever held them is gone."""
        tables = HELD.get(step, {})
        server = stack["s3"].pid if step == "storing" else None
        if step != "receiving":
            self.go_on.set()
        try:
            async with self.database.transaction():
                for table in tables:
                    await self.database.execute(f"LOCK TABLE artifacts.{table} IN SHARE MODE")
                if server is not None:
                    os.kill(server, signal.SIGSTOP)
                yield
        finally:
            if server is not None and stack["s3"].pid == server:
                os.kill(server, signal.SIGCONT)
            self.go_on.set()

    async def reached(self, stack: Stack, step: str) -> None:
        """Return when both have come to the step."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self._is_at(stack, step):
                await asyncio.sleep(0.01)

    async def _is_at(self, stack: Stack, step: str) -> bool:
        if step == "receiving":
            transfers = stack.folder.data("artifacts", mode=0o755) / "transfers"
            return self.half_sent.is_set() and bool(self.entries) and any(transfers.glob("*/*/spool"))
        if step == "storing":
            senders = (stack.artifacts.pid, os.getpid())
            return all(bodies_in_flight(sender, stack["s3"].port) for sender in senders)
        if step == "committed":
            version = await self._count("dataset_version", "dataset_id = $1", self.dataset_id)
            return bool(version and await self._count("manifest", "execution_id = $1 AND final", self.run))
        waiting = await self._elsewhere("SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return all(any(words in row["query"] for row in waiting) for words in HELD[step].values())

    async def _count(self, table: str, condition: str, *arguments: Any) -> int:
        rows = await self._elsewhere(f"SELECT count(*) AS n FROM artifacts.{table} WHERE {condition}", *arguments)
        return int(rows[0]["n"])

    async def _elsewhere(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask on another connection than the one that holds locks: its view of the activity would stand still."""
        connection = await asyncpg.connect(self.client.stack.postgres_dsn)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def datasets(self) -> list[Dataset]:
        """What is listed, each one downloaded and found whole, in both forms."""
        page: DatasetPage = await patiently(lambda: self.client.ask(ListDatasets, page=1, page_size=20))
        for dataset in page.items:
            parquet = await self.client.data(dataset.dataset_id, "parquet")
            assert (parquet.status, len(parquet.body)) == (200, dataset.size_bytes)
            assert hashlib.sha256(parquet.body).hexdigest() == dataset.sha256
            assert dataset.record_count == ROWS
            assert (await self.client.data(dataset.dataset_id, "csv")).body == self.sent[dataset.dataset_id]
        return page.items

    async def artifacts(self) -> list[ArtifactEntry]:
        """What is registered, each one downloaded and found to match its hash."""
        found = await patiently(lambda: self.client.listed(self.run))
        for one in found:
            answer = await self.client.artifact(self.run, one.artifact_id)
            assert (answer.status, len(answer.body)) == (200, one.size_bytes)
            assert hashlib.sha256(answer.body).hexdigest() == one.sha256
        return found


async def sweep(client: Client) -> None:
    """What the sweeps do in the next two days; their rows are made older instead of waited for."""
    mine = f"{client.scope.tenant_id}/%"
    database = Database(client.stack.artifacts.environment()["ATELIER_ARTIFACTS_POSTGRES_DSN"], schema="artifacts")
    await database.open()
    removals = Removals(database, client.objects)
    try:
        await client.sql(
            "UPDATE process_lease SET expires_at = clock_timestamp() - interval '1 s' "
            "WHERE owner IN (SELECT owner FROM unsealed_object WHERE object_key LIKE $1)",
            mine,
        )
        await client.sql(
            "UPDATE unsealed_object SET created_at = created_at - interval '1 day' WHERE object_key LIKE $1", mine
        )
        await removals.sweep(datetime.now(UTC))
        sweeping = Sweeping(database, client.objects, removals, every_s=3600, after_s=DAY_S)
        await sweeping.sweep(datetime.now(UTC) + timedelta(days=2))
        await client.sql("UPDATE removal SET due_at = clock_timestamp() WHERE prefix LIKE $1", mine)
        async with asyncio.timeout(PATIENCE_S):
            while await client.sql("SELECT count(*) FROM removal WHERE prefix LIKE $1", mine):
                await removals.work_off()
    finally:
        await database.close()


async def referred(client: Client) -> list[str]:
    """The keys of the objects that rows of the project name."""
    return list(
        await client.sql(
            "SELECT coalesce(array_agg(DISTINCT object_key), '{}') FROM ("
            "SELECT object_key FROM dataset_version v JOIN dataset d USING (dataset_id) WHERE d.tenant_id = $1 "
            "UNION ALL SELECT coalesce(object_key, pack_key) FROM artifact a "
            "JOIN manifest m USING (execution_id, epoch) WHERE m.tenant_id = $1 AND inline IS NULL) AS r",
            client.scope.tenant_id,
        )
    )
