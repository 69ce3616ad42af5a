"""A private PostgreSQL with the catalog's schema, and the catalog's handlers called as the responder calls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.catalog import child_calls, handlers, shelf
from services.catalog.app import Catalog
from services.catalog.automation.starter import Starter
from services.catalog.purge import Purge
from services.catalog.turns import Turns
from shared import envelope as envelopes
from shared import migrations, replies
from shared.command_log import AlreadyDone, Held, KeptReplies
from shared.contracts.base import Caller, Command, Event, Idempotency, Scope
from shared.contracts.datasets import Dataset, GetDataset
from shared.contracts.files import FileUploadTicket, OpenFileUpload
from shared.database import Database
from shared.errors import AtelierError, NotFound
from shared.outbox import Outbox
from shared.responder import Context

ROLE, PASSWORD = "atelier_catalog", "a-password-of-the-tests"


@pytest.fixture(scope="session")
async def catalog_dsn(postgres_dsn: str) -> str:
    """The database as the catalog's own role sees it, migrated."""
    address = postgres_dsn.partition("@")[2]
    dsn = f"postgresql://{ROLE}:{PASSWORD}@{address}"
    folder = Path(handlers.__file__).parent / "migrations"
    await migrations.migrate(postgres_dsn, [migrations.Schema(name="catalog", folder=folder, dsn=dsn)])
    return dsn


@pytest.fixture(scope="session")
async def catalog_database(catalog_dsn: str) -> AsyncIterator[Database]:
    """The catalog's pool, with an outbox that keeps what it would send."""
    database = Database(catalog_dsn, schema="catalog")
    await database.open()
    yield database
    await database.close()


TABLES = (
    "notebook",
    "notebook_version",
    "content",
    "cell",
    "execution",
    "automation",
    "fire",
    "file_set",
    "file_content",
)
"""Those with rows of notebooks."""


class Sent:
    """A bus that keeps what is published."""

    def __init__(self) -> None:
        self.envelopes: list[envelopes.Envelope] = []

    async def publish_fact(self, routing_key: str, body: bytes) -> None:
        """See shared.outbox.Publisher."""
        self.envelopes.append(envelopes.Envelope.decode(body))

    async def of(self, subject: UUID, count: int) -> list[envelopes.Envelope]:
        """The facts about a notebook, once there are so many."""
        async with asyncio.timeout(10):
            while len(found := [e for e in self.envelopes if e.subject == f"notebook/{subject}"]) < count:
                await asyncio.sleep(0.01)
        return found


class Datasets:
    """Artifacts, as far as the catalog asks it."""

    def __init__(self) -> None:
        self.existing: set[UUID] = set()
        self.asked: list[UUID] = []
        self.failure: AtelierError | None = None
        self.reserved: list[OpenFileUpload] = []
        self.missing: list[str] = []

    async def ask(self, command: GetDataset | OpenFileUpload) -> Dataset | FileUploadTicket:
        """See shared.requests.Requests."""
        if isinstance(command, OpenFileUpload):
            self.reserved.append(command)
            return FileUploadTicket(url="", ticket="", missing=self.missing)
        self.asked.append(command.dataset_id)
        if self.failure is not None:
            raise self.failure
        if command.dataset_id not in self.existing:
            raise NotFound("There is no such dataset.")
        now = datetime.now(UTC)
        return Dataset(
            dataset_id=command.dataset_id,
            project_id=command.scope.project_id,
            dataset_name="A log",
            version=1,
            record_count=1,
            case_count=1,
            columns=[],
            case_id_column=None,
            activity_column=None,
            time_column=None,
            size_bytes=1,
            sha256="0" * 64,
            date_created=now,
            date_modified=now,
            created_by=command.caller.subject,
        )


class Bench:
    """One tenant's view of a catalog: `ask(SomeCommand, member=…)` and `hear(event, sequence)`."""

    def __init__(self, app: Catalog, datasets: Datasets, sent: Sent) -> None:
        self.app, self.datasets, self.sent = app, datasets, sent
        self.scope = Scope(tenant_id=uuid4(), project_id=uuid4())
        self.kept: KeptReplies | None = None
        self.caller = Caller(subject="anna@example.org", role="admin")

    async def ask(
        self,
        command: type[Command[Any]],
        *,
        command_id: UUID | None = None,
        idempotency: Idempotency | None = None,
        scope: Scope | None = None,
        **members: Any,
    ) -> Any:
        """Carry a command out; the answer has travelled as JSON, as over the bus."""
        full = command(scope=scope or self.scope, caller=self.caller, idempotency=idempotency, **members)
        full = command.model_validate_json(full.model_dump_json(by_alias=True))
        deadline = datetime.now(UTC) + timedelta(seconds=10)
        envelope = envelopes.of_command(full, source="test", identity=command_id or uuid4(), deadline=deadline)
        async with Held() as held:
            context = Context(envelope, full, self.app.database, held, self.kept)
            try:
                reply = replies.Reply.of(await handlers.COMMANDS[command](self.app, full, context))
            except AlreadyDone as done:
                reply = done.reply
        decoded = replies.decode(reply.encode())
        decoded.raise_error()
        return command.reply_type().model_validate(decoded.data)

    async def hear(self, event: Event, sequence: int | None = None) -> None:
        """Handle a fact as the subscriber does."""
        envelope = envelopes.of_event(event, source="executor", sequence=sequence)
        heard = envelopes.event_data(envelopes.Envelope.decode(envelope.encode()), type(event))
        await handlers.EVENTS[type(event)](self.app, heard, envelope)

    async def rows(self, notebook_id: UUID) -> dict[str, int]:
        """How many rows of each table belong to a notebook."""
        counts = {}
        async with self.app.database.connection() as connection:
            for table in TABLES:
                statement = f"SELECT count(*) FROM {table} WHERE notebook_id = $1"
                counts[table] = await connection.fetchval(statement, notebook_id)
        return counts


@pytest.fixture(scope="session")
async def catalog(catalog_database: Database) -> AsyncIterator[SimpleNamespace]:
    """The catalog's handlers with a real database and the rest of the world played."""
    sent, datasets = Sent(), Datasets()
    outbox = Outbox(catalog_database, sent, lease_s=8, heartbeat_s=2)
    await outbox.open()
    children = child_calls.pool()
    app = Catalog(
        database=catalog_database,
        requests=datasets,  # type: ignore[arg-type]  # it answers the one question the catalog has
        templates=shelf.load(),
        purge=Purge(catalog_database),
        starter=Starter(catalog_database, datasets),  # type: ignore[arg-type]  # see above
        turns=Turns(),
        children=children,
    )
    yield SimpleNamespace(app=app, datasets=datasets, sent=sent)
    await children.close()
    await outbox.close()


@pytest.fixture
async def bench(catalog: SimpleNamespace) -> AsyncIterator[Bench]:
    """A tenant and project of its own."""
    yield Bench(catalog.app, catalog.datasets, catalog.sent)
    catalog.datasets.failure = None


@pytest.fixture
async def connection(catalog_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the catalog's role, for looking at rows."""
    connection = await asyncpg.connect(catalog_dsn, server_settings={"search_path": "catalog"})
    yield connection
    await connection.close()
