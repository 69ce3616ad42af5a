"""The outbox: facts are committed with the state they tell of, then sent by one pump in commit order.

Each row belongs to the process that committed it. That process's pump sends rows as soon as they are committed, without
waiting for the confirms of those before, and goes back to the first unconfirmed one after any loss. Another process
adopts rows only when their owner's lease has expired (DESIGN.md decision 2).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

import structlog

from shared import telemetry
from shared.database import Database, Facts, Transaction
from shared.errors import AtelierError, DeadlineExceeded, Unavailable

log = structlog.get_logger(__name__)

WINDOW = 128
"""Rows in flight at once: enough to hide the broker's confirm time, few enough to repeat after a loss."""

STRAGGLER_AGE_S = 5.0
"""An own row this old that the pump does not know of was cut off between commit and hand-over, in seconds."""

RETRY_S = 0.2
"""Pause after a loss, in seconds."""

FORGET_S = 0.2
"""How long confirmed rows wait for others before they are removed together, in seconds. A process that is killed
meanwhile leaves them to be sent a second time, which is allowed."""

SWEEP_CHUNK = 1_000
"""Replies removed in one statement."""

COMMAND_LOG_KEPT = "24 hours"
"""How long replies are kept for Idempotency-Keys (SPEC.md: Idempotency-Key)."""

SWEEP_EVERY_S = 300.0
"""How often old replies are removed, in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A committed fact on its way out."""

    id: int
    event_type: str
    routing_key: str
    body: bytes


class Publisher(Protocol):
    """What the pump needs of the bus; `shared.broker.Broker` is one."""

    async def publish_fact(self, routing_key: str, body: bytes) -> None:
        """Send one fact and return when the broker has confirmed it; raise otherwise."""


class Outbox:
    """The outbox of one process. Its rows stay its own for `lease_s` seconds without a heartbeat; one comes every
    `heartbeat_s` seconds, and looks for orphaned rows too."""

    def __init__(self, database: Database, publisher: Publisher, *, lease_s: float, heartbeat_s: float) -> None:
        self.owner: UUID = uuid4()
        self._database = database
        self._publisher = publisher
        self._lease_s, self._heartbeat_s = lease_s, heartbeat_s
        self._pending: deque[Row] = deque()
        self._in_flight: deque[tuple[Row, asyncio.Task[None]]] = deque()
        self._is_lost = False
        self._known: set[int] = set()
        self._wake = asyncio.Event()
        self._confirmed: list[int] = []
        self._forget_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Take a lease, adopt what dead processes left, start sending."""
        await self._renew()
        self._database.outbox = self
        work = (self._pump(), self._forget(), self._keep_lease())
        self._tasks = [asyncio.create_task(part) for part in work]

    async def close(self, timeout_s: float = 5.0) -> None:
        """Send what is left, then give the lease up so that others adopt the rest at once."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._pending or self._in_flight or self._confirmed:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            left = len(self._pending) + len(self._in_flight) + len(self._confirmed)
            log.warning("facts left for another process", count=left)
        tasks = [*self._tasks, *(sending for _, sending in self._in_flight)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with self._database.connection() as connection:
                await connection.execute("DELETE FROM process_lease WHERE owner = $1", self.owner)
        except AtelierError as error:
            log.warning("lease left to expire", reason=error.detail)

    async def stage(self, transaction: Transaction, deadline: datetime | None) -> list[Row]:
        """Write the transaction's facts into its own transaction; refuse when `deadline` has passed."""
        if deadline is not None and await transaction.value("SELECT clock_timestamp() > $1", deadline):
            raise DeadlineExceeded("The request took too long and was not carried out.")
        if not transaction.staged:
            return []
        types, keys, bodies = zip(*transaction.staged, strict=True)
        found = await transaction.fetch(
            "INSERT INTO outbox (owner, event_type, routing_key, body) "
            "SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bytea[]) RETURNING id",
            self.owner,
            types,
            keys,
            bodies,
        )
        return _rows_of([row["id"] for row in found], transaction)

    def send(self, rows: list[Row]) -> None:
        """Hand committed rows to the pump, in commit order."""
        for row in rows:
            if row.id not in self._known:
                self._known.add(row.id)
                self._pending.append(row)
        if rows:
            self._wake.set()

    def send_facts(self, ids: Iterable[int], facts: Facts) -> None:
        """Hand facts to the pump that a statement has written and committed itself."""
        self.send(_rows_of(ids, facts))

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                self._take_confirmed()
                if self._is_lost:
                    await self._go_back()
                while self._pending and len(self._in_flight) < WINDOW and not self._is_lost:
                    self._in_flight.append(self._begin_to_send(self._pending[0]))
                    self._pending.popleft()
            except Exception:
                # The pump is the only way out for facts: whatever happens, it goes on.
                log.exception("pump failed, it will try again")
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    def _begin_to_send(self, row: Row) -> tuple[Row, asyncio.Task[None]]:
        sending = asyncio.create_task(self._publisher.publish_fact(row.routing_key, row.body))
        sending.add_done_callback(self._note_answer)
        return row, sending

    def _note_answer(self, sending: asyncio.Task[None]) -> None:
        """Called when the broker has confirmed a row, or will not."""
        if _loss(sending) is not None:
            self._is_lost = True
        self._wake.set()

    def _take_confirmed(self) -> None:
        """Let go of the confirmed rows, from the first on: a row is done when all before it are."""
        while self._in_flight:
            row, sending = self._in_flight[0]
            if not sending.done() or _loss(sending) is not None:
                return
            self._in_flight.popleft()
            self._confirmed.append(row.id)
            self._forget_now.set()
            telemetry.EVENTS_PUBLISHED.labels(row.event_type).inc()

    async def _go_back(self) -> None:
        """After a loss: wait for what is on its way, then begin again with the first row that is not confirmed."""
        await asyncio.wait([sending for _, sending in self._in_flight])
        self._take_confirmed()
        again, reason = [row for row, _ in self._in_flight], _loss(self._in_flight[0][1])
        log.warning("facts not confirmed, will be sent again", reason=type(reason).__name__, count=len(again))
        self._in_flight.clear()
        self._pending.extendleft(reversed(again))
        self._is_lost = False
        await asyncio.sleep(RETRY_S)

    async def _forget(self) -> None:
        """Remove confirmed rows; if the database is away, later. Sending one twice is allowed, losing one is not."""
        while True:
            await self._forget_now.wait()
            await asyncio.sleep(FORGET_S)
            self._forget_now.clear()
            ids = list(self._confirmed)
            try:
                async with self._database.connection() as connection:
                    await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", ids)
            except Unavailable:
                self._forget_now.set()
                await asyncio.sleep(RETRY_S)
            except Exception:
                # Rows that stay are sent again by whoever adopts them; the next ones must go all the same.
                log.exception("sent facts not removed, it will be tried again")
                self._forget_now.set()
                await asyncio.sleep(RETRY_S)
            else:
                del self._confirmed[: len(ids)]
                self._known.difference_update(ids)

    async def _keep_lease(self) -> None:
        swept = time.monotonic()
        while True:
            await asyncio.sleep(self._heartbeat_s)
            try:
                await self._renew()
                # One chunk a heartbeat: a night's replies must not take the time in which the lease ends.
                if time.monotonic() - swept >= SWEEP_EVERY_S and not await self._sweep_command_log():
                    swept = time.monotonic()
            except Unavailable:
                log.warning("lease not renewed: the database is away")
            except Exception:
                # Without the lease others would adopt this process's rows and send them twice.
                log.exception("lease not renewed")

    async def _renew(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO process_lease (owner, expires_at) VALUES ($1, clock_timestamp() + $2 * interval '1 s') "
                "ON CONFLICT (owner) DO UPDATE SET expires_at = excluded.expires_at",
                self.owner,
                self._lease_s,
            )
            rows = await connection.fetch(
                "UPDATE outbox SET owner = $1 WHERE id IN (SELECT o.id FROM outbox o "
                "LEFT JOIN process_lease p USING (owner) WHERE p.owner IS NULL OR p.expires_at < clock_timestamp() "
                "OR (o.owner = $1 AND o.created_at < clock_timestamp() - $2 * interval '1 s')) "
                "RETURNING id, event_type, routing_key, body",
                self.owner,
                STRAGGLER_AGE_S,
            )
            await connection.execute("DELETE FROM process_lease WHERE expires_at < clock_timestamp() - interval '1 h'")
        self.send([Row(**dict(row)) for row in sorted(rows, key=lambda row: row["id"])])

    async def _sweep_command_log(self) -> bool:
        """Remove a chunk of old replies; returns whether there may be more."""
        async with self._database.connection() as connection:
            status: str = await connection.execute(
                "DELETE FROM command_log WHERE command_id IN (SELECT command_id FROM command_log "
                f"WHERE committed_at < clock_timestamp() - interval '{COMMAND_LOG_KEPT}' "
                "ORDER BY committed_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
                SWEEP_CHUNK,
            )
        return status == f"DELETE {SWEEP_CHUNK}"


def _loss(sending: asyncio.Task[None]) -> BaseException | None:
    """Why the broker has not confirmed what was sent; None where it has, or may still do so."""
    if not sending.done():
        return None
    return asyncio.CancelledError() if sending.cancelled() else sending.exception()


def _rows_of(ids: Iterable[int], facts: Facts) -> list[Row]:
    """The rows that a group of facts became; ids grow in the order of the facts."""
    return [
        Row(id=number, event_type=event_type, routing_key=key, body=body)
        for number, (event_type, key, body) in zip(sorted(ids), facts.staged, strict=True)
    ]
