"""PostgreSQL for one service: a pool, vendor errors in our words, and transactions that carry their facts with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import structlog

from shared import envelope as envelopes
from shared import telemetry
from shared.contracts.base import Event
from shared.envelope import Envelope
from shared.errors import OutcomeUnknown, Unavailable
from shared.watch import Watch

if TYPE_CHECKING:
    from shared.outbox import Outbox

log = structlog.get_logger(__name__)

ACQUIRE_TIMEOUT_S = 3.0
"""How long a request may wait for a connection before the database counts as down, in seconds."""

STATEMENT_TIMEOUT_S = 10.0
"""No statement of ours may take longer, in seconds: a stuck one must not hold a connection for ever."""

POOL_MIN, POOL_MAX = 1, 10
"""Connections a process keeps, and the most it opens."""

CONNECT_RETRY_S = 0.25
"""Pause between attempts to reach the database while starting, in seconds."""

_DOWN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg raises for a statement begun while the connection was being lost
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
)


def session(schema: str, name: str) -> dict[str, str]:
    """Settings of a connection that is confined to `schema` and shown as `atelier-<name>`."""
    # Compiling a statement pays for reports over whole tables; ours are short, and asyncpg's own look at the types of
    # each new connection is compiled for longer than it runs.
    return {"search_path": schema, "application_name": f"atelier-{name}", "jit": "off"}


async def _nothing_to_reset(_connection: asyncpg.Connection) -> None:
    """Called when a connection goes back to the pool. asyncpg's own way is a round trip that clears session state:
    nothing of ours sets any (locks are a transaction's, cursors and channels are not used), and a transaction left open
    by an error is rolled back by `Database.transaction`."""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn a lost or unreachable database into Unavailable; leave every other error alone."""
    try:
        yield
    except _DOWN as error:
        if isinstance(error, ValueError):
            raise  # asyncpg's own word for a value that does not fit its column: the database is well
        raise Unavailable("The database is not available; try again shortly.") from error


class Facts:
    """Facts that become true together, as they will travel."""

    def __init__(self, *, source: str, cause: Envelope | None = None) -> None:
        self.staged: list[tuple[str, str, bytes]] = []
        self._source = source
        self._cause = cause

    def emit(
        self,
        event: Event,
        *,
        sequence: int | None = None,
        traceparent: str | None = None,
        correlation: UUID | None = None,
    ) -> Envelope:
        """Publish `event` when, and only if, what it tells of commits. Returns the envelope as it will travel."""
        envelope = envelopes.of_event(
            event,
            source=self._source,
            traceparent=traceparent or telemetry.traceparent(),
            correlation=correlation or (self._cause.correlationid if self._cause else None),
            causation=self._cause.id if self._cause else None,
            sequence=sequence,
        )
        self.staged.append((event.type, event.routing_key(), envelope.encode()))
        return envelope


class Transaction(Facts):
    """An open transaction: run statements, and `emit` the facts that become true with its commit."""

    def __init__(self, connection: asyncpg.Connection, *, source: str, cause: Envelope | None) -> None:
        super().__init__(source=source, cause=cause)
        self.connection = connection

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """All rows."""
        rows: list[asyncpg.Record] = await self.connection.fetch(statement, *arguments)
        return rows

    async def row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self.connection.fetchrow(statement, *arguments)

    async def value(self, statement: str, *arguments: Any) -> Any:
        """The first column of the first row, or None."""
        return await self.connection.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any) -> int:
        """Run a statement; returns how many rows it changed."""
        status: str = await self.connection.execute(statement, *arguments)
        last = status.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0


class Database:
    """The connection pool of one service's role, confined to its schema; `most` connections at a time."""

    def __init__(self, dsn: str, *, schema: str, most: int = POOL_MAX) -> None:
        self.schema = schema
        self._most = most
        self._dsn = dsn
        self._pool: asyncpg.Pool | None = None
        self._watch = Watch("The database", self._ping)
        self._pinging: asyncpg.Connection | None = None
        self.outbox: Outbox | None = None

    async def open(self) -> None:
        """Connect, waiting for a database that is still starting."""
        waiting = False
        while True:
            try:
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    min_size=POOL_MIN,
                    max_size=self._most,
                    timeout=ACQUIRE_TIMEOUT_S,
                    command_timeout=STATEMENT_TIMEOUT_S,
                    reset=_nothing_to_reset,
                    server_settings=session(self.schema, self.schema),
                )
            except _DOWN as error:
                if not waiting:
                    log.warning("waiting for the database", reason=type(error).__name__)
                waiting = True
                await asyncio.sleep(CONNECT_RETRY_S)
            else:
                return

    async def close(self) -> None:
        """Close every connection."""
        await self._watch.close()
        if self._pinging is not None:
            self._pinging.terminate()
        if self._pool is not None:
            self._pool.terminate()

    async def check(self) -> None:
        """Raise unless the database answers (for `/readyz`)."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for reads outside a transaction; raises Unavailable."""
        if self._pool is None:
            raise Unavailable("The database is not available; try again shortly.")
        async with translated():
            self._watch.refuse_if_away()
            connection = await self._acquire(self._pool)
            try:
                # Without its end a transaction takes no effect; one cut during its end is OutcomeUnknown, as ever.
                with self._watch.use(connection.terminate):
                    yield connection
            finally:
                await self._pool.release(connection)

    async def _acquire(self, pool: asyncpg.Pool) -> asyncpg.Connection:
        if pool.get_idle_size() > 0:
            return await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        return await self._watch.guard(pool.acquire(timeout=ACQUIRE_TIMEOUT_S))

    async def _ping(self) -> None:
        """Return when the database has answered, on a connection that is used for nothing else."""
        try:
            if self._pinging is None or self._pinging.is_closed():
                settings = session(self.schema, f"{self.schema}-ping")
                self._pinging = await asyncpg.connect(self._dsn, timeout=ACQUIRE_TIMEOUT_S, server_settings=settings)
            question = asyncio.ensure_future(self._pinging.fetchval("SELECT 1"))
            question.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may end unheard
            # A statement that is cancelled would have asyncpg ask the database to stop it, over one more connection.
            await asyncio.shield(question)
        except asyncio.CancelledError:
            if self._pinging is not None:
                self._pinging.terminate()
                self._pinging = None
            raise
        except asyncpg.PostgresConnectionError:
            raise
        except asyncpg.PostgresError as error:
            log.info("the database answers, with an error", reason=type(error).__name__)

    @asynccontextmanager
    async def transaction(
        self, *, cause: Envelope | None = None, deadline: datetime | None = None
    ) -> AsyncIterator[Transaction]:
        """A transaction whose facts reach the outbox with it and the broker after it.

        `deadline` is checked with the database's clock as the last statement before the commit. Raises
        DeadlineExceeded (nothing happened), Unavailable (nothing happened) or OutcomeUnknown (the connection was lost
        during the commit itself).
        """
        async with self.connection() as connection:
            inner = connection.transaction()
            await inner.start()
            transaction = Transaction(connection, source=self.schema, cause=cause)
            try:
                yield transaction
                rows = await self.outbox.stage(transaction, deadline) if self.outbox else []
            except BaseException:
                if not connection.is_closed():
                    await inner.rollback()
                raise
            try:
                await inner.commit()
            except _DOWN as error:
                raise OutcomeUnknown("The database went away while the change was being committed.") from error
            if self.outbox:
                self.outbox.send(rows)

    def facts(self) -> Facts:
        """An empty group of facts for `commit_at_once`."""
        return Facts(source=self.schema)

    async def commit_at_once(self, statement: str, *arguments: Any, facts: Facts) -> bool:
        """A transaction of one statement, which saves the way there and back for its begin, its outbox and its commit.

        The statement writes `facts` into the outbox itself: they are its last four arguments (owner, types, routing
        keys, bodies), and it answers with the ids of their rows, or with NULL when it changed nothing. Returns whether
        it did. Raises Unavailable (nothing happened) or OutcomeUnknown (the connection was lost meanwhile).
        """
        if self.outbox is None:
            raise Unavailable("The outbox is not open.")
        types, keys, bodies = zip(*facts.staged, strict=True)
        async with self.connection() as connection:
            try:
                ids = await connection.fetchval(statement, *arguments, self.outbox.owner, types, keys, bodies)
            except _DOWN as error:
                raise OutcomeUnknown("The database went away while the change was being committed.") from error
        if ids is not None:
            self.outbox.send_facts(ids, facts)
        return ids is not None
