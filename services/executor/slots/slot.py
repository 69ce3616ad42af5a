"""A slot: a process that drives one run at a time, from its claim to its end, with a kernel of its own ready."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from services.executor import store
from services.executor.handlers.planning import snapshot_of
from services.executor.running import incidents
from services.executor.running.claim import Claim, Means
from services.executor.running.folder import SlotFolder
from services.executor.running.run import Run
from services.executor.slots.channel import Message
from services.executor.slots.process import Member
from services.executor.slots.remote_spares import RemoteSpares
from services.executor.store import queries
from shared.errors import OutcomeUnknown, Unavailable
from shared.process import Part

log = structlog.get_logger(__name__)

RETRY_S = 0.2
"""Pause before a claim is read again while the database is down, in seconds."""


class Slot(Member):
    """See the module. `equip` it before it lives."""

    def __init__(self, connection: socket.socket, folder: SlotFolder) -> None:
        super().__init__(connection)
        self._folder = folder
        self._means: Means | None = None
        self._spares: RemoteSpares | None = None
        self._parts: Sequence[Part] = ()
        self._ready = 0
        self._task: asyncio.Task[None] | None = None
        self._run: Run | None = None
        self._told: set[str] = set()

    def equip(self, means: Means, spares: RemoteSpares, parts: Sequence[Part]) -> None:
        """Take what runs need."""
        self._means, self._spares, self._parts = means, spares, parts

    def parts(self) -> Sequence[Part]:
        """See Member."""
        return self._parts

    def state(self) -> dict[str, Any]:
        """See Member."""
        return {"ready": self._ready}

    def tell_ready(self, count: int) -> None:
        """Called with the number of base kernels that are ready."""
        self._ready = count
        self.channel.send({"say": "ready", "ready": count})

    async def warm_up(self) -> None:
        """Have the database's connections know the statements of a run: the first time each costs some milliseconds."""
        assert self._means is not None  # noqa: S101 - equipped
        nobody = UUID(int=0)
        async with self._means.database.transaction() as transaction:
            await transaction.row(queries.find_claimed, nobody, 0)
            await transaction.row(queries.snapshot, nobody)
            await transaction.fetch(queries.cells_of, [nobody])
            await transaction.row(queries.lock_tenant, nobody)

    async def rest(self) -> None:
        """See Member: the supervisor has told a run to end before it told the slot to stop."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def obey(self, message: Message, connection: socket.socket | None) -> None:
        """Begin a run, or tell the run in hand something: cancel, lost, handOver or draft."""
        if message["do"] == "pools":
            assert connection is not None  # noqa: S101 - it comes with the message
            assert self._spares is not None  # noqa: S101 - equipped
            self._spares.connect(connection)
        elif message["do"] == "run":
            self._told = set()
            self._task = asyncio.create_task(self._execute(UUID(message["execution"]), message["epoch"]))
        else:
            self._told.add(message["do"])
            self._pass_on()

    def _pass_on(self) -> None:
        """Tell the run what has been told of it, as soon as it is there."""
        run = self._run
        if run is None:
            return
        for word, event in (("cancel", run.cancel), ("lost", run.lost), ("handOver", run.handover)):
            if word in self._told:
                event.set()
        if "draft" in self._told:
            self._told.discard("draft")
            run.draft.ask()

    async def _execute(self, execution_id: UUID, epoch: int) -> None:
        with structlog.contextvars.bound_contextvars(execution_id=str(execution_id), epoch=epoch):
            try:
                self._run = await self._read(execution_id, epoch)
                if self._run is not None:
                    self._pass_on()
                    await self._run.execute()
            except (Unavailable, OutcomeUnknown) as error:
                # The heartbeat finds that nobody works on the run any more and lets it go.
                log.warning("run let go: it could not be handed over", reason=error.detail)
            except Exception as error:
                # What the code cannot do with this run it could not do the next time either.
                assert self._means is not None  # noqa: S101 - equipped
                verdict = incidents.verdict_of(error, doing="running this notebook")
                await incidents.end_run(self._means.database, execution_id, epoch, verdict)
            finally:
                self._run = None
                await asyncio.to_thread(self._folder.forget_removed)
                self.channel.send({"say": "done", "execution": str(execution_id), "epoch": epoch})

    async def _read(self, execution_id: UUID, epoch: int) -> Run | None:
        """The claimed run; None when it is no longer this worker's. Raises whatever a row may cause that this release
        cannot read."""
        assert self._means is not None  # noqa: S101 - equipped
        while "lost" not in self._told:
            try:
                async with self._means.database.connection() as connection:
                    row = await connection.fetchrow(queries.find_claimed, execution_id, epoch)
                    snapshot = await connection.fetchrow(queries.snapshot, execution_id)
                    cells = await connection.fetch(queries.cells_of, [execution_id])
            except Unavailable as error:
                log.warning("the claimed run cannot be read yet", reason=error.detail)
                await asyncio.sleep(RETRY_S)
                continue
            if row is None:
                return None
            notebook, dataset = snapshot_of(snapshot)
            claim = Claim(row=row, notebook=notebook, dataset=dataset, cells=store.cells_of(cells))
            return Run(claim, self._means, self._folder.run_folder())
        return None
