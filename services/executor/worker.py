"""The worker: claims waiting runs while it has free slots, keeps its lease, and hands runs over when it is drained."""

from __future__ import annotations

import asyncio
import random
import time
from uuid import UUID, uuid4

import asyncpg
import structlog
from prometheus_client import Gauge

from services.executor import claiming, store
from services.executor.handlers.planning import snapshot_of
from services.executor.lease import Held, Lease
from services.executor.running import incidents
from services.executor.running.claim import Claim, Means
from services.executor.running.folder import WorkerFolder
from services.executor.running.run import Run
from services.executor.settings import WorkerSettings
from services.executor.store import queries
from shared import topology
from shared.broker import Broker
from shared.contracts.base import Scope
from shared.contracts.execution_events import ExecutionStarted
from shared.errors import OutcomeUnknown, Unavailable

log = structlog.get_logger(__name__)

IDLE_POLL_S = 1.0
"""How often an idle worker looks for work without a hint, in seconds; jittered by a quarter."""

COMMITTING_S = 0.2
"""How long a claim may take to be known here after the database has it, in seconds."""

SLOTS_BUSY = Gauge("atelier_worker_slots_busy", "Runs in hand")
SLOTS = Gauge("atelier_worker_slots", "Runs this worker takes at a time")


RunKey = tuple[UUID, int]
"""An attempt at a run: its execution's id and its epoch."""


class Worker:
    """One per worker process. Each heartbeat renews its lease and reads cancel flags (DESIGN.md decision 5)."""

    def __init__(self, settings: WorkerSettings, means: Means, broker: Broker, folder: WorkerFolder) -> None:
        self.id: UUID = uuid4()
        self._settings = settings
        self._means = means
        self._broker = broker
        self._folder = folder
        self._runs: dict[RunKey, Run] = {}
        self._claimed_at: dict[RunKey, float] = {}
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
        async with self._means.database.connection() as connection:
            await connection.execute(queries.note_python, self.id, self._means.environments.python_version)
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
            run.handover.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        await asyncio.gather(*self._loops, *self._letting_go, return_exceptions=True)
        await self._lease.close()

    async def _listen(self) -> None:
        channel = await self._broker.consumer_channel(prefetch=1)
        hints = await channel.get_queue(topology.HINTS, ensure=False)
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
            if len(self._tasks) < self._settings.worker_slots:
                try:
                    claimed = await self._claim()
                except Unavailable as error:
                    log.warning("cannot claim", reason=error.detail)
                except Exception:
                    # A run that cannot be read must not stop the worker from taking others.
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

    async def _claim(self) -> bool:
        """Take the best waiting run, if there is one."""
        async with self._means.database.transaction() as transaction:
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
            snapshot = await transaction.row(queries.snapshot, row["execution_id"])
            cells = await transaction.fetch(queries.cells_of, [row["execution_id"]])
        try:
            run = self._new_run(row, snapshot, cells)
        except Exception as error:
            # The claim stands: were it undone, this run would be the first to be claimed again, and again.
            verdict = incidents.verdict_of(error, doing="reading what the run is to do")
            await incidents.end_run(self._means.database, row["execution_id"], row["epoch"], verdict)
            return True
        key = (run.claim.id, run.claim.epoch)
        former = [task for (execution_id, _), task in self._tasks.items() if execution_id == run.claim.id]
        for (execution_id, _), other in self._runs.items():
            if execution_id == run.claim.id:
                other.lost.set()
        self._runs[key], self._claimed_at[key] = run, time.monotonic()
        self._tasks[key] = asyncio.create_task(self._execute(run, former))
        self._tasks[key].add_done_callback(lambda _: self._on_run_done(key))
        SLOTS_BUSY.set(len(self._tasks))
        return True

    def _new_run(self, row: asyncpg.Record, snapshot: asyncpg.Record | None, cells: list[asyncpg.Record]) -> Run:
        """The run of a claimed row; raises whatever a row may cause that this release cannot read."""
        notebook, dataset = snapshot_of(snapshot)
        claim = Claim(row=row, notebook=notebook, dataset=dataset, cells=store.cells_of(cells))
        return Run(claim, self._means, self._folder.run_folder())

    def _on_run_done(self, key: RunKey) -> None:
        del self._tasks[key]
        SLOTS_BUSY.set(len(self._tasks))
        self._work.set()

    async def _execute(self, run: Run, former: list[asyncio.Task[None]]) -> None:
        """Run it, after the `former` attempts that this worker lost while it stood still: user code of two attempts
        must not run at once."""
        if former:
            await asyncio.wait(former)
        with structlog.contextvars.bound_contextvars(execution_id=str(run.claim.id), epoch=run.claim.epoch):
            try:
                await run.execute()
            except (Unavailable, OutcomeUnknown) as error:
                # The heartbeat finds that nobody works on the run any more and lets it go.
                log.warning("run let go: it could not be handed over", reason=error.detail)
            except Exception as error:
                # What the code cannot do with this run it could not do the next time either.
                verdict = incidents.verdict_of(error, doing="running this notebook")
                await incidents.end_run(self._means.database, run.claim.id, run.claim.epoch, verdict)
            finally:
                del self._runs[run.claim.id, run.claim.epoch]
                del self._claimed_at[run.claim.id, run.claim.epoch]

    def _on_held(self, held: Held) -> None:
        """Called after each heartbeat: stop what is no longer ours, and what is to be cancelled."""
        rows: dict[RunKey, asyncpg.Record] = {(row["execution_id"], row["epoch"]): row for row in held.rows}
        for key, run in self._runs.items():
            row = rows.get(key)
            if row is None:
                if self._claimed_at[key] < held.asked_at:
                    run.lost.set()
                continue
            if row["cancel"]:
                run.cancel.set()
            if row["draft_wanted"]:
                run.draft.ask()
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
                task = asyncio.create_task(self._let_go(key))
                self._letting_go.add(task)
                task.add_done_callback(self._letting_go.discard)

    async def _let_go(self, key: RunKey) -> None:
        execution_id, epoch = key
        log.error("run let go: nothing here works on it", execution_id=str(execution_id), epoch=epoch)
        try:
            async with self._means.database.connection() as connection:
                await connection.execute(queries.let_go, execution_id, self.id, epoch)
        except Unavailable as error:
            log.warning("run not let go", reason=error.detail)  # the next heartbeat finds it again
