"""Runs a notebook's cells in order, under the run's limits and error policy, and says how it went."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from nbformat import NotebookNode

from services.executor import model
from services.executor.collecting import outputs as cell_outputs
from services.executor.kernels.cells import CellRunner
from services.executor.kernels.outcomes import CellOutcome
from services.executor.kernels.port import Kernel
from services.executor.model import Verdict
from services.executor.running import parameters, result_variable
from services.executor.running.chronicle import Chronicle
from services.executor.running.claim import Claim
from services.executor.running.guard import Guard
from services.executor.running.papermill_notes import PapermillNotes
from shared import telemetry
from shared.contracts.executions import CellResult
from shared.contracts.retries import RetryCause


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
        guard: Guard,
        on_cell: Callable[[int], Awaitable[None]],
        on_replayed: Callable[[], Awaitable[None]],
    ) -> None:
        self._guard = guard
        self._kernel = kernel
        self._request = claim.request
        self._replayed = claim.replayed
        self._policy = self._request.error_policy or claim.notebook.integration.error_policy or "stop"
        self._injected = parameters.inject(notebook, claim.parameters, claim.notebook.kernel_type)
        self._notes = PapermillNotes(notebook, claim.parameters, claim.notebook.notebook_name)
        self._notebook = notebook
        self._index_of = {cell.id: index for index, cell in enumerate(notebook.cells)}
        self._chronicle = chronicle
        self._runner = CellRunner(
            notebook,
            kernel,
            cancel=stop,
            on_progress=chronicle.cell_progressed,
            on_output=chronicle.output,
            breached=guard.breached,
        )
        self._deadline = deadline
        self._on_cell = on_cell
        self._on_replayed = on_replayed

    def catch_up(self) -> None:
        """Bring the notebook up to what the running cell has put out so far."""
        self._runner.catch_up()

    def close(self) -> None:
        """No cell will be run any more."""
        self._runner.close()

    async def save_named_result(self) -> str | None:
        """Have the kernel save the table that the notebook named as its result; see `result_variable`."""
        return await result_variable.save(self._runner, limit_s=max(self._remaining(), 1.0))

    async def shut_down(self, grace_s: float) -> None:
        """Have the kernel end by itself, within `grace_s` seconds: exit functions run, files are written to the end."""
        if not self._kernel.exited.done():
            with telemetry.span("shut down kernel"):
                await self._runner.shut_down(grace_s)

    def finish(self, verdict: Verdict) -> list[CellResult]:
        """Bring the notebook to its end once the kernel says nothing more. Returns the results of cells whose outputs
        have changed since they ended."""
        self._runner.catch_up()
        self._runner.keep_widgets()
        self._notes.end(failed=verdict.state == "Error")
        changed = []
        for result in list(self._chronicle.tally.results):
            if result.start_time is None:
                continue
            cell = self._notebook.cells[self._index_of[result.cell_id]]
            self._drop_what_is_not_captured(cell)
            now = {"has_output": bool(cell.outputs), "output_type": cell_outputs.type_of(cell)}
            if (result.has_output, result.output_type) != (now["has_output"], now["output_type"]):
                changed.append(result.model_copy(update=now))
                self._chronicle.tally.put(changed[-1])
        return changed

    async def run(self) -> Verdict:
        """Replay what comes before, then run every covered cell, or up to the one that stops the run."""
        index_of = self._index_of
        injected = self._injected
        failed: Verdict | None = None
        covered = [result.cell_id for result in self._chronicle.tally.results]
        for cell_id in [*self._replayed, *covered]:
            index = index_of[cell_id]
            if injected is not None and index >= injected:
                if index > injected:
                    preset = await self._drive(injected)
                    if preset.status != "Success":
                        return _judge(preset, None, "the run's parameters")
                injected = None
            if cell_id in self._replayed:
                outcome = await self._replay(index, cell_id)
            else:
                outcome = await self._run_cell(index, cell_id)
            if outcome is not None and outcome.exits:
                return replace(failed or model.COMPLETED, skip_reason=f"the notebook ended its run in {cell_id}")
            if outcome is not None and not self._tolerated(outcome, index):
                verdict = _judge(outcome, cell_id, cell_id)
                if not outcome.goes_on:
                    return verdict
                failed = failed or verdict
        return failed or model.COMPLETED

    async def _drive(self, index: int) -> CellOutcome:
        """Run a code cell within its limit."""
        limit, is_own = self._limit(index)
        name = "cell's time limit" if is_own else "run's time limit"
        self._guard.cell_begins()
        self._notes.cell_begins(index)
        outcome = await self._runner.run(index, timeout_s=limit, timeout_name=name)
        outcome = replace(outcome, resources=await self._guard.cell_ended())
        self._notes.cell_ended(index, failed=outcome.status == "Error" and model.RAISES_TAG not in self._tags(index))
        if self._guard.breached.is_set() and outcome.status != "Cancelled":
            await self._kernel.kill()
            return replace(
                outcome,
                status="Error",
                error_type="DeadKernelError",
                error_message=f"{self._guard.breach} in {self._id(index)}",
                traceback=None,
                kernel_died=True,
                timed_out=False,
            )
        if outcome.timed_out and not is_own:
            message = f"the run's time limit of {self._request.timeout} seconds was reached in {self._id(index)}"
            return replace(outcome, error_message=message)
        return outcome

    async def _replay(self, index: int, cell_id: str) -> CellOutcome | None:
        """Run a cell for what it leaves in the kernel; it does not count, and its results are passed over."""
        if self._has_nothing_to_run(index) or model.SKIP_TAG in self._tags(index):
            return None
        with telemetry.span(f"replay {cell_id}", cell_id=cell_id):
            outcome = await self._drive(index)
        await self._on_replayed()
        if outcome.status == "Error":
            return replace(outcome, error_message=f"{cell_id} was replayed and failed: {outcome.error_message}")
        return outcome

    async def _run_cell(self, index: int, cell_id: str) -> CellOutcome | None:
        """Run one cell, or pass over one that has nothing to run (None)."""
        cell = self._notebook.cells[index]
        skip = model.SKIP_TAG in self._tags(index)
        if self._has_nothing_to_run(index) or skip:
            reason = f"it is tagged {model.SKIP_TAG}" if skip else None
            self._notes.cell_passed(index)
            self._chronicle.cell_done(
                CellResult(cell_id=cell_id, status="Skipped" if skip else "Success", skip_reason=reason)
            )
            return None
        self._chronicle.cell_started(cell_id)
        with telemetry.span(f"cell {cell_id}", cell_id=cell_id) as span:
            outcome = await self._drive(index)
            span.set_attribute("status", outcome.status)
        self._drop_what_is_not_captured(cell)
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
                resources=outcome.resources,
            )
        )
        await self._on_cell(index)
        return outcome

    def _drop_what_is_not_captured(self, cell: NotebookNode) -> None:
        if not self._request.output_options.capture_outputs:
            cell.outputs = [output for output in cell.outputs if output.output_type == "error"]

    def _tolerated(self, outcome: CellOutcome, index: int) -> bool:
        """Whether the run goes on after this outcome."""
        if outcome.status == "Success":
            return True
        if outcome.status == "Cancelled" or outcome.kernel_died or outcome.ends_run:
            return False
        if outcome.timed_out and self._remaining() < 1:
            return False
        return self._policy == "continue" or model.RAISES_TAG in self._tags(index)

    def _limit(self, index: int) -> tuple[float, bool]:
        """Seconds the cell may take, and whether that limit is the cell's own rather than what is left of the run's.
        The cell's metadata come first, then the request, then the notebook's metadata."""
        limit = _timeout_in(self._notebook.cells[index].metadata)
        limit = self._request.cell_timeout if limit is None else limit
        limit = _timeout_in(self._notebook.metadata) if limit is None else limit
        remaining = self._remaining()
        if limit is not None and limit < remaining:
            return limit, True
        return remaining, False

    def _remaining(self) -> float:
        return max(self._deadline - time.monotonic(), 0.001)

    def _has_nothing_to_run(self, index: int) -> bool:
        cell = self._notebook.cells[index]
        return cell.cell_type != "code" or not cell.source.strip()

    def _id(self, index: int) -> str:
        return str(self._notebook.cells[index].id)

    def _tags(self, index: int) -> list[str]:
        tags = self._notebook.cells[index].metadata.get("tags", [])
        return tags if isinstance(tags, list) else []


def _timeout_in(metadata: NotebookNode) -> float | None:
    """`execution.timeout` of a cell's or a notebook's metadata, in seconds; nbformat has it as a string on cells."""
    execution = metadata.get("execution", {})
    timeout = execution.get("timeout") if isinstance(execution, dict) else None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | str):
        return None
    try:
        seconds = float(timeout)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < math.inf else None


def _judge(outcome: CellOutcome, cell_id: str | None, where: str) -> Verdict:
    if outcome.status == "Cancelled":
        return model.CANCELLED
    cause: RetryCause = "timeout" if outcome.timed_out else "dead_kernel" if outcome.kernel_died else "error"
    return Verdict(
        state="Error",
        error_type=outcome.error_type,
        error_message=outcome.error_message,
        failed_cell=cell_id,
        skip_reason=f"the run stopped at an error in {where}",
        cause=cause,
    )
