"""The worker: claims runs while it has free slots, gives them to the slots, keeps its lease, hands over when drained.

What a run does, its slot does (`slots`): nothing here touches what a kernel produces.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg
import structlog
from prometheus_client import Gauge

from services.executor import claiming, store
from services.executor.environments.base import BaseEnvironment
from services.executor.lease import Held, Lease
from services.executor.running import incidents
from services.executor.settings import WorkerSettings
from services.executor.slots.supervised import RunKey, Supervised
from services.executor.slots.supervisor import Supervisor
from services.executor.store import queries
from shared import topology
from shared.broker import Broker
from shared.contracts.base import Scope
from shared.contracts.execution_events import ExecutionStarted
from shared.database import Database
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

IDLE_POLL_S = 1.0
"""How often an idle worker looks for work without a hint, in seconds; jittered by a quarter."""

COMMITTING_S = 0.2
"""How long a claim may take to be known here after the database has it, in seconds."""

SLOTS_BUSY = Gauge("atelier_worker_slots_busy", "Runs in hand")
SLOTS = Gauge("atelier_worker_slots", "Runs this worker takes at a time")


class StuckError(Exception):
    """A slot's process did not answer any more."""


@dataclass(eq=False)
class _Run:
    """A run in hand: its slot, and what its slot has been told."""

    slot: Supervised
    claimed_at: float
    is_cancelled: bool = False

    def tell(self, word: str) -> None:
        """Tell the slot something of the run."""
        self.slot.tell_of_run(word)


class Worker:
    """One per worker. Each heartbeat renews its lease and reads cancel flags (DESIGN.md decision 5)."""

    def __init__(
        self,
        settings: WorkerSettings,
        database: Database,
        broker: Broker,
        supervisor: Supervisor,
        base: BaseEnvironment,
    ) -> None:
        self.id: UUID = uuid4()
        self._settings = settings
        self._database = database
        self._broker = broker
        self._supervisor = supervisor
        self._base = base
        self._runs: dict[RunKey, _Run] = {}
        self._tasks: dict[RunKey, asyncio.Task[None]] = {}
        self._lease = Lease(
            settings.executor_postgres_dsn.get_secret_value(),
            self.id,
            slots=settings.worker_slots,
            lease_s=settings.lease_s,
            heartbeat_s=settings.heartbeat_s,
            on_held=self._on_held,
        )
        self._loops: list[asyncio.Task[None]] = []
        self._work = asyncio.Event()
        self._strays: dict[RunKey, float] = {}
        self._letting_go: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take a lease, listen for hints and nudges, begin to claim."""
        SLOTS.set(self._settings.worker_slots)
        await self._lease.open()
        async with self._database.connection() as connection:
            await connection.execute(queries.note_python, self.id, self._base.interpreter.version)
        self._supervisor.on_change = self._work.set
        await self._listen()
        self._loops = [asyncio.create_task(self._claiming())]

    async def close(self) -> None:
        """Drain: claim no more, let runs finish for a while, hand the rest over."""
        self._loops[0].cancel()
        self._lease.take_no_more()
        if self._tasks:
            log.info("draining", runs=len(self._tasks))
            await asyncio.wait(self._tasks.values(), timeout=self._settings.drain_timeout)
        for run in self._runs.values():
            run.tell("handOver")
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        await asyncio.gather(*self._loops, *self._letting_go, return_exceptions=True)
        await self._lease.close()

    async def _listen(self) -> None:
        channel = await self._broker.consumer_channel(prefetch=1)
        # Looked for, not just named: only then is it consumed again after the connection was lost.
        hints = await channel.declare_queue(topology.HINTS, durable=True, passive=True)
        await hints.consume(self._on_hint, no_ack=True)
        nudges = await channel.declare_queue(f"atelier.nudges.{self.id}", exclusive=True, auto_delete=True)
        await nudges.bind(topology.NUDGES)
        await nudges.consume(self._on_nudge, no_ack=True)

    async def _on_hint(self, _message: object) -> None:
        self._work.set()

    async def _on_nudge(self, _message: object) -> None:
        self._lease.renew_soon()

    async def _claiming(self) -> None:
        while True:
            claimed = False
            slot = self._supervisor.take() if len(self._tasks) < self._settings.worker_slots else None
            if slot is not None:
                try:
                    claimed = await self._claim(slot)
                except Unavailable as error:
                    log.warning("cannot claim", reason=error.detail)
                except Exception:
                    # A run that cannot be claimed must not stop the worker from taking others.
                    log.exception("claim failed")
            if not claimed:
                await self._pause()

    async def _pause(self) -> None:
        self._work.clear()
        try:
            async with asyncio.timeout(IDLE_POLL_S * random.uniform(0.75, 1.25)):  # noqa: S311 - jitter
                await self._work.wait()
        except TimeoutError:
            return

    async def _claim(self, slot: Supervised) -> bool:
        """Take the best waiting run, if there is one, for this slot."""
        async with self._database.transaction() as transaction:
            waiting = await claiming.next_run(
                transaction,
                max_active=self._settings.max_active_runs,
                reserved_share=self._settings.reserved_slots_share,
            )
            if waiting is None:
                return False
            row = await transaction.row(queries.mark_claimed, waiting["execution_id"], self.id)
            assert row is not None  # noqa: S101 - locked above
            await transaction.execute(queries.count_claimed, row["tenant_id"])
            envelope = transaction.emit(
                ExecutionStarted(
                    scope=Scope(tenant_id=row["tenant_id"], project_id=row["project_id"]),
                    execution_id=row["execution_id"],
                    notebook_id=row["notebook_id"],
                    attempt=row["attempt"],
                    started_at=row["started_at"],
                    queued_seconds=round((row["started_at"] - row["accepted_at"]).total_seconds(), 3),
                ),
                sequence=row["last_seq"],
                traceparent=row["traceparent"],
                correlation=row["correlation_id"],
            )
            await store.put_events(transaction, row["execution_id"], [envelope])
        key: RunKey = (row["execution_id"], row["epoch"])
        former = [task for (execution_id, _), task in self._tasks.items() if execution_id == key[0]]
        for (execution_id, _), other in self._runs.items():
            if execution_id == key[0]:
                other.tell("lost")
        slot.run = key  # from now on it is not free
        self._runs[key] = _Run(slot, time.monotonic())
        self._tasks[key] = asyncio.create_task(self._execute(key, former))
        self._tasks[key].add_done_callback(lambda _: self._on_run_done(key))
        SLOTS_BUSY.set(len(self._tasks))
        return True

    def _on_run_done(self, key: RunKey) -> None:
        del self._tasks[key]
        SLOTS_BUSY.set(len(self._tasks))
        self._work.set()

    async def _execute(self, key: RunKey, former: list[asyncio.Task[None]]) -> None:
        """Have its slot drive it, after the `former` attempts that this worker lost while it stood still: user code of
        two attempts must not run at once."""
        slot = self._runs[key].slot
        if former:
            await asyncio.wait(former)
        try:
            self._supervisor.look_for_changes()
            if not await slot.execute(key):
                await self._supervisor.left(slot.number)  # before its user code is run again
                if slot.stuck is not None:
                    # What held up its process would do so the next time, too.
                    verdict = incidents.verdict_of(StuckError(slot.stuck), doing="running this notebook")
                    await incidents.end_run(self._database, *key, verdict)
                else:
                    await self._let_go(key, reason="its slot's process has ended")
        finally:
            del self._runs[key]

    def _on_held(self, held: Held) -> None:
        """Called after each heartbeat: stop what is no longer ours, and what is to be cancelled."""
        rows: dict[RunKey, asyncpg.Record] = {(row["execution_id"], row["epoch"]): row for row in held.rows}
        for key, run in self._runs.items():
            row = rows.get(key)
            if row is None:
                if run.claimed_at < held.asked_at:
                    run.tell("lost")
                continue
            if row["cancel"] and not run.is_cancelled:
                run.is_cancelled = True
                run.tell("cancel")
            if row["draft_wanted"]:
                run.tell("draft")
        self._note_strays({key: row for key, row in rows.items() if key not in self._runs})

    def _note_strays(self, unknown: dict[RunKey, asyncpg.Record]) -> None:
        """Give up runs that are ours in the database but that nothing here has worked on for a whole heartbeat (a claim
        may just be being committed, and nudges make heartbeats come quickly); the sweeper takes them back."""
        now = time.monotonic()
        self._strays = {key: self._strays.get(key, now) for key in unknown}
        for key, row in unknown.items():
            age_s = now - self._strays[key]
            if row["cancel"] and age_s < COMMITTING_S:
                # Perhaps a claim that is just being committed: its cancellation must not wait for the next heartbeat.
                self._lease.renew_soon()
            if age_s >= self._settings.heartbeat_s:
                task = asyncio.create_task(self._let_go(key, reason="nothing here works on it"))
                self._letting_go.add(task)
                task.add_done_callback(self._letting_go.discard)

    async def _let_go(self, key: RunKey, *, reason: str) -> None:
        execution_id, epoch = key
        log.error("run let go", reason=reason, execution_id=str(execution_id), epoch=epoch)
        try:
            async with self._database.connection() as connection:
                await connection.execute(queries.let_go, execution_id, self.id, epoch)
        except Unavailable as error:
            log.warning("run not let go", reason=error.detail)  # the next heartbeat finds it again
