"""Puts right what workers cannot: runs whose worker was lost, and runs that waited too long.

A lease is believed to be over only after one lease time of unbroken database contact of our own, and never soon after a
database start: a restart of the database, or one that stood still, must not run healthy work again. An answer that took
long, or a sweep that came late, breaks contact as an error does: workers may have been kept from renewing, too.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from services.executor import claiming, ending, model, requeueing
from services.executor.ending import Fenced
from services.executor.model import Verdict
from services.executor.store import queries
from services.executor.views import request_of
from shared.background import Background
from shared.broker import Broker
from shared.database import Database, Transaction
from shared.errors import AtelierError, Unavailable

log = structlog.get_logger(__name__)

RECOUNT_S = 30.0
"""How often the counters of all tenants are compared with their runs, in seconds."""

SWEEPS_PER_LEASE = 8
"""Sweeps within the time of a lease."""

SILENCE = 0.6
"""Part of a lease after which silence between sweeps is broken contact: a healthy worker's lease lasts longer."""

WORKERS_LOST = Counter("atelier_executions_requeued_total", "Runs put back because their worker was lost")
QUEUED = Gauge("atelier_executions_queued", "Runs waiting")
ACTIVE = Gauge("atelier_executions_active", "Runs held by workers")


class Sweeper(Background):
    """One per control process; several do no harm, each step is fenced. A worker's runs stay its own for `lease_s`
    seconds without a heartbeat."""

    def __init__(self, database: Database, broker: Broker, *, lease_s: float) -> None:
        super().__init__()
        self._lease_s = lease_s
        self._database = database
        self._broker = broker
        self._contact_since: float | None = None
        self._last_contact = self._recounted = time.monotonic()

    async def work(self) -> float:
        """See Background."""
        try:
            await self._sweep()
        except Unavailable:
            self._contact_since = None
            raise
        return self._lease_s / SWEEPS_PER_LEASE

    async def _sweep(self) -> None:
        async with self._database.connection() as connection:
            overdue = await connection.fetch(queries.overdue_in_queue)
            expired = await connection.fetch(queries.expired_runs, self._lease_s)
            due = await connection.fetch(queries.due_runs)
            depth = await connection.fetchrow(queries.queue_depth)
            await connection.execute(queries.forget_workers)
        QUEUED.set(depth["queued"])
        ACTIVE.set(depth["active"])
        now = time.monotonic()
        if self._contact_since is None or now - self._last_contact > self._lease_s * SILENCE:
            self._contact_since = now
        self._last_contact = now
        if now - self._recounted > RECOUNT_S:
            self._recounted = now
            await self._recount()
        for row in overdue:
            await self._one(row["execution_id"], self._give_up_waiting)
        for row in due:
            await self._one(row["execution_id"], partial(requeueing.requeue_due, tenant_id=row["tenant_id"]))
        if due:
            await self._broker.publish_hint()
        if time.monotonic() - self._contact_since < self._lease_s:
            return
        for row in expired:
            await self._one(row["execution_id"], self._take_back)
        if expired:
            await self._broker.publish_hint()

    async def _recount(self) -> None:
        async with self._database.connection() as connection:
            wrong = await connection.fetch(queries.wrong_tenants)
        for row in wrong:
            async with self._database.transaction() as transaction:
                await transaction.row(queries.lock_tenant, row["tenant_id"])
                await claiming.recount(transaction, row["tenant_id"])

    async def _one(self, execution_id: UUID, step: Callable[[Transaction, UUID], Awaitable[None]]) -> None:
        try:
            async with self._database.transaction() as transaction:
                await step(transaction, execution_id)
        except Fenced:
            log.info("run moved on before it was swept", execution_id=str(execution_id))
        except Unavailable:
            raise
        except AtelierError as error:
            log.warning("run not swept", execution_id=str(execution_id), reason=error.detail)
        except Exception:
            # One run that cannot be swept must not keep the others from it.
            log.exception("run not swept", execution_id=str(execution_id))

    async def _give_up_waiting(self, transaction: Transaction, execution_id: UUID) -> None:
        row = await transaction.row("SELECT * FROM execution WHERE execution_id = $1", execution_id)
        if row is None or row["state"] != "Queued":
            return
        limit = request_of(row).queue_timeout
        verdict = Verdict(
            state="Error",
            error_type="QueueTimeoutError",
            error_message=f"The run was not taken by a worker within its queueTimeout of {limit} seconds.",
        )
        await ending.end_as_found(transaction, row, verdict)

    async def _take_back(self, transaction: Transaction, execution_id: UUID) -> None:
        row = await transaction.row("SELECT * FROM execution WHERE execution_id = $1", execution_id)
        if row is None or row["state"] not in model.ACTIVE:
            return
        if not await transaction.value(queries.lease_expired, row["worker_id"]):
            return
        if row["cancel_requested_at"] is not None:
            await ending.end_as_found(transaction, row, model.CANCELLED)
            return
        losses = row["losses"] + 1
        times = "" if losses == 1 else f" {losses} times"
        verdict = Verdict(
            state="Error",
            error_type="WorkerLostError",
            error_message=f"The worker was lost{times} while it ran this notebook.",
            failed_cell=row["current_cell"],
            cause="lost",
        )
        wait_s = model.retry_wait_s(request_of(row).retry, verdict, row["retries"])
        if losses < model.MAX_LOSSES:
            await requeueing.requeue_lost(transaction, row, verdict)
        elif wait_s is None:
            await ending.end_as_found(transaction, row, verdict)
            return
        elif not await requeueing.retry(transaction, row, row["last_seq"], verdict, wait_s):
            raise Fenced("The run has been taken over, has ended or is to be cancelled.")
        WORKERS_LOST.inc()
        log.warning("run taken back from a lost worker", execution_id=str(execution_id), attempt=row["attempt"])
