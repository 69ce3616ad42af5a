"""Tells a run's story: every step becomes a fact with the state that belongs to it, in order."""

from __future__ import annotations

import time
from typing import Any

from services.executor import model
from services.executor.model import Tally
from services.executor.running.claim import Claim
from services.executor.running.live_output import LiveOutput, Told
from services.executor.running.progress import ProgressWriter, Step
from shared.contracts.execution_events import (
    CellCompleted,
    CellOutput,
    CellProgressed,
    CellStarted,
    ExecutionPhaseChanged,
    ResultsRegistered,
)
from shared.contracts.executions import CellResult, Phase

PROGRESS_PAUSE_S = 0.2
"""Shortest time between two progress facts of one cell, in seconds."""

MESSAGE_LENGTH = 2_000
"""Longest error message in a fact, in characters; the status object has all of it."""


class Chronicle:
    """One per run; keeps the tally of its cells and hands every fact to the writer."""

    def __init__(self, claim: Claim, writer: ProgressWriter) -> None:
        self.tally = Tally(list(claim.cells))
        self._writer = writer
        self._epoch = claim.epoch
        self._ids = {"scope": claim.scope, "execution_id": claim.id, "notebook_id": claim.row["notebook_id"]}
        self._last_progress = self._last_fraction = 0.0
        self.output = LiveOutput(self._cell_output, enabled=claim.request.output_options.capture_outputs)
        scope, notebook_id = claim.scope, claim.row["notebook_id"]
        run = f"notebook/{notebook_id}/execution/{claim.id}"
        self._link = f"/api/{scope.tenant_id}/{scope.project_id}/{run}/notebook"

    def enter(self, phase: Phase, *, state: model.State | None = None) -> None:
        """The run enters another phase."""
        if phase != "ExecutingCells":
            self.tally.current = None
        self._add(ExecutionPhaseChanged(**self._ids, phase=phase), phase=phase, state=state)

    def environment_ready(self, environment_id: str, seconds: float) -> None:
        """The run has its environment: the kernel starts."""
        event = ExecutionPhaseChanged(**self._ids, phase="StartingKernel")
        self._add(event, phase="StartingKernel", environment=(environment_id, seconds))

    def cell_started(self, cell_id: str) -> None:
        """A code cell begins."""
        place = self.tally.place(cell_id)
        self.tally.current = place
        self._last_fraction = 0.0
        running = CellResult(cell_id=cell_id, status="Running")
        self.tally.put(running)
        event = CellStarted(**self._ids, cell_id=cell_id, cell_index=place + 1, progress=self.tally.progress())
        self._add(event, current_cell=cell_id, place=place, result=running, ends_group=True)
        self.output.begin()

    def cell_progressed(self, fraction: float, message: str) -> None:
        """Pass on what a cell says of itself, but not more often than people can read."""
        current, now = self.tally.current, time.monotonic()
        at_its_end = fraction >= 1.0 > self._last_fraction
        if current is None or (now - self._last_progress < PROGRESS_PAUSE_S and not at_its_end):
            return
        self._last_progress, self._last_fraction = now, fraction
        cell_id = self.tally.results[current].cell_id
        event = CellProgressed(**self._ids, cell_id=cell_id, fraction=fraction, message=message)
        self._add(event, current_cell=cell_id)

    def _cell_output(self, told: Told) -> None:
        """Pass on what the running cell has put out."""
        current = self.tally.current
        if current is None:
            return
        cell_id = self.tally.results[current].cell_id
        event = CellOutput(
            **self._ids,
            cell_id=cell_id,
            cell_index=current + 1,
            cleared=told.cleared,
            outputs=told.outputs,
            omitted_outputs=told.omitted,
            link=self._link if told.needs_link else None,
        )
        self._add(event, current_cell=cell_id)

    def cell_done(self, result: CellResult) -> None:
        """A cell came to its end."""
        rest = self.output.end()
        self.tally.put(result)
        place = self.tally.place(result.cell_id)
        event = CellCompleted(
            **self._ids,
            cell_id=result.cell_id,
            cell_index=place + 1,
            status=result.status,
            execution_time_seconds=result.execution_time_seconds,
            has_output=result.has_output,
            output_type=result.output_type,
            error_type=result.error_type,
            error_message=result.error_message[:MESSAGE_LENGTH] if result.error_message else None,
            progress=self.tally.progress(),
            cleared=rest.cleared,
            outputs=rest.outputs,
            omitted_outputs=rest.omitted,
        )
        self._add(event, current_cell=result.cell_id, place=place, result=result)

    def results_registered(self, count: int) -> None:
        """So many results can be read while the run goes on."""
        self._add(ResultsRegistered(**self._ids, artifact_count=count), manifest_epoch=self._epoch)

    def _add(self, event: Any, **changes: Any) -> None:
        progress = event.progress if isinstance(event, CellStarted | CellCompleted) else self.tally.progress()
        self._writer.add(Step(event=event, progress=progress, **changes))
