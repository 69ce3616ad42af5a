"""Runs a notebook's cells in order, under the run's limits and error policy, and says how it went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from nbformat import NotebookNode

from services.executor import model
from services.executor.collecting import outputs as cell_outputs
from services.executor.kernels.cells import CellOutcome, CellRunner
from services.executor.kernels.port import Kernel
from services.executor.model import Verdict
from services.executor.running import parameters
from services.executor.running.chronicle import Chronicle
from services.executor.running.claim import Claim
from shared import telemetry
from shared.contracts.executions import CellResult


class NotebookCells:
    """The cells of one run. `on_cell` is called with a cell's index when its outputs are complete."""

    def __init__(
        self,
        claim: Claim,
        notebook: NotebookNode,
        kernel: Kernel,
        chronicle: Chronicle,
        *,
        stop: asyncio.Event,
        deadline: float,
        on_cell: Callable[[int], None],
    ) -> None:
        self._request = claim.request
        self._policy = self._request.error_policy or claim.notebook.integration.error_policy or "stop"
        self._injected = parameters.inject(notebook, self._request.parameters, claim.notebook.kernel_type)
        self._notebook = notebook
        self._chronicle = chronicle
        self._runner = CellRunner(notebook, kernel, cancel=stop, on_progress=chronicle.cell_progressed)
        self._deadline = deadline
        self._on_cell = on_cell

    async def run(self) -> Verdict:
        """Run every covered cell, or up to the one that stops the run."""
        index_of = {cell.id: index for index, cell in enumerate(self._notebook.cells)}
        injected = self._injected
        for cell_id in [result.cell_id for result in self._chronicle.tally.results]:
            index = index_of[cell_id]
            if injected is not None and index > injected:
                preset = await self._runner.run(injected, timeout_s=self._remaining(), timeout_name="run's time limit")
                if preset.status != "Success":
                    return _judge(preset, None)
                injected = None
            outcome = await self._run_cell(index, cell_id)
            if outcome is not None and not self._tolerated(outcome, index):
                return _judge(outcome, cell_id)
        return model.COMPLETED

    async def _run_cell(self, index: int, cell_id: str) -> CellOutcome | None:
        """Run one cell, or pass over one that has nothing to run (None)."""
        cell = self._notebook.cells[index]
        skip = model.SKIP_TAG in self._tags(index)
        if cell.cell_type != "code" or not cell.source.strip() or skip:
            passed = CellResult(cell_id=cell_id, status="Skipped" if skip else "Success")
            self._chronicle.cell_done(passed)
            return None
        self._chronicle.cell_started(cell_id)
        limit, name = self._limit(index)
        with telemetry.span(f"cell {cell_id}", cell_id=cell_id) as span:
            outcome = await self._runner.run(index, timeout_s=limit, timeout_name=name)
            span.set_attribute("status", outcome.status)
        if not self._request.output_options.capture_outputs:
            cell.outputs = [output for output in cell.outputs if output.output_type == "error"]
        self._chronicle.cell_done(
            CellResult(
                cell_id=cell_id,
                status=outcome.status,
                execution_time_seconds=outcome.seconds,
                execution_count=cell.get("execution_count"),
                has_output=bool(cell.outputs),
                output_type=cell_outputs.type_of(cell),
                start_time=outcome.started_at,
                end_time=outcome.ended_at,
                error_type=outcome.error_type,
                error_message=outcome.error_message,
                traceback=outcome.traceback,
            )
        )
        self._on_cell(index)
        return outcome

    def _tolerated(self, outcome: CellOutcome, index: int) -> bool:
        """Whether the run goes on after this outcome."""
        if outcome.status == "Success":
            return True
        if outcome.status == "Cancelled" or outcome.kernel_died:
            return False
        if outcome.timed_out and self._remaining() < 1:
            return False
        return self._policy == "continue" or model.RAISES_TAG in self._tags(index)

    def _limit(self, index: int) -> tuple[float, str]:
        """Seconds the cell may take, and whose limit that is."""
        own = self._notebook.cells[index].metadata.get("execution", {})
        timeout = own.get("timeout") if isinstance(own, dict) else None
        limit = timeout if isinstance(timeout, int | float) and timeout > 0 else self._request.cell_timeout
        remaining = self._remaining()
        if limit is not None and limit < remaining:
            return float(limit), "cell's time limit"
        return remaining, "run's time limit"

    def _remaining(self) -> float:
        return max(self._deadline - time.monotonic(), 0.001)

    def _tags(self, index: int) -> list[str]:
        tags = self._notebook.cells[index].metadata.get("tags", [])
        return tags if isinstance(tags, list) else []


def _judge(outcome: CellOutcome, cell_id: str | None) -> Verdict:
    if outcome.status == "Cancelled":
        return model.CANCELLED
    return Verdict(
        state="Error", error_type=outcome.error_type, error_message=outcome.error_message, failed_cell=cell_id
    )
