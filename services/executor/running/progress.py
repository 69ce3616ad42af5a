"""Writes a run's progress facts in groups: state, cells and events of a few milliseconds in one fenced transaction.

The next cell does not wait for it; the terminal commit waits for all (DESIGN.md decision 2).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from services.executor import model
from services.executor.ending import Fenced
from services.executor.store import dumps, queries
from shared.contracts.execution_events import ExecutionEvent
from shared.contracts.executions import CellResult, Phase, Progress
from shared.database import Database
from shared.errors import OutcomeUnknown, Unavailable

log = structlog.get_logger(__name__)

GROUP_S = 0.005
"""How long a fact waits for others at most, in seconds; the start of a cell ends the wait, for nothing may follow it
for hours. While a group is being written the next one gathers."""

GROUP_SIZE = 64
"""Facts in one transaction at most."""

RETRY_S = 0.25
"""Pause before a group is written again after the database was away, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One fact and what it changes."""

    event: ExecutionEvent
    progress: Progress
    state: model.State | None = None
    phase: Phase | None = None
    current_cell: str | None = None
    place: int | None = None
    """Of the cell that `result` is of, among those that run, from 0."""
    ends_group: bool = False
    """Nothing may follow for long: the group is written at once."""
    result: CellResult | None = None
    manifest_epoch: int | None = None
    environment: tuple[str, float] | None = None
    """The environment's id and the seconds it took to have it."""


class ProgressWriter:
    """The only writer of a run's facts while its worker holds it, so numbers are given here and checked there."""

    def __init__(self, database: Database, row: asyncpg.Record) -> None:
        self._database = database
        self._row = row
        self._waiting: list[Step] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.sequence: int = row["last_seq"]
        self.lost = asyncio.Event()
        self.failure: Exception | None = None
        """Why nothing more can be written though the run may still be ours; `lost` is set then, too."""

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop writing; what is not written stays unwritten."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def add(self, step: Step) -> None:
        """Take a fact; it is written within milliseconds."""
        self._waiting.append(step)
        self._idle.clear()
        if step.ends_group:
            self._wake.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GROUP_S, self._wake.set)

    async def drain(self) -> None:
        """Wait until every fact taken is committed; raises Fenced when the run is no longer ours, and `failure` where
        one could not be written."""
        self._wake.set()
        idle = asyncio.create_task(self._idle.wait())
        lost = asyncio.create_task(self.lost.wait())
        try:
            await asyncio.wait({idle, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
            lost.cancel()
        if self.failure is not None:
            raise self.failure
        if self.lost.is_set():
            raise Fenced("The run has been taken over or has ended.")

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(0)  # the cell that begins is sent to the kernel first
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            while self._waiting:
                group = self._waiting[:GROUP_SIZE]
                try:
                    await self._write_surely(group)
                except Fenced:
                    self.lost.set()
                    return
                except Exception as error:
                    # An event that cannot be written must not leave the run waiting for it for ever.
                    self.failure = error
                    self.lost.set()
                    return
                self.sequence += len(group)
                del self._waiting[: len(group)]
            self._idle.set()

    async def _write_surely(self, group: list[Step]) -> None:
        """Write a group once, however often the database goes away meanwhile: the fence refuses it a second time."""
        in_doubt = False
        while True:
            try:
                await self._write(group)
            except Fenced:
                if in_doubt and await self._was_written(len(group)):
                    return
                raise
            except (Unavailable, OutcomeUnknown) as error:
                in_doubt = in_doubt or isinstance(error, OutcomeUnknown)
                log.warning("progress waits for the database", reason=error.detail)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _was_written(self, count: int) -> bool:
        """After a commit in doubt: the sequence number tells."""
        while True:
            try:
                async with self._database.connection() as connection:
                    row = await connection.fetchrow(queries.fence_state, self._row["execution_id"])
            except Unavailable:
                await asyncio.sleep(RETRY_S)
                continue
            is_ours = row is not None and row["epoch"] == self._row["epoch"]
            return is_ours and bool(row["last_seq"] == self.sequence + count)

    async def _write(self, group: list[Step]) -> None:
        last = group[-1]
        environment_id, preparation = _latest(step.environment for step in group) or (None, None)
        results = {step.place: step.result for step in group if step.result is not None}
        facts = self._database.facts()
        for number, step in enumerate(group, start=self.sequence + 1):
            facts.emit(
                step.event,
                sequence=number,
                traceparent=self._row["traceparent"],
                correlation=self._row["correlation_id"],
            )
        is_ours = await self._database.commit_at_once(
            queries.record_progress,
            self._row["execution_id"],
            self._row["epoch"],
            self.sequence,
            _latest(step.state for step in group),
            _latest(step.phase for step in group),
            last.current_cell,
            dumps(last.progress),
            list(results),
            [dumps(result) for result in results.values()],
            _latest(step.manifest_epoch for step in group),
            environment_id,
            preparation,
            facts=facts,
        )
        if not is_ours:
            raise Fenced("The run has been taken over or has ended.")


def _latest(values: Any) -> Any:
    """The last value that is not None."""
    latest = None
    for value in values:
        if value is not None:
            latest = value
    return latest
