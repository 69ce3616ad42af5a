"""The rules of a run: its states, which cells it covers, how far it is, and what its end means. Pure, no I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.contracts.executions import (
    CellRange,
    CellResult,
    CellStatus,
    ExecutionRequest,
    ExecutionStatus,
    Phase,
    Progress,
)
from shared.contracts.retries import MAX_BACKOFF_S, Retry, RetryCause
from shared.errors import Fault, Invalid

State = Literal["Queued", "Delayed", "Claimed", "Running", "Collecting", "Completed", "Error", "Cancelled"]

NEXT: Mapping[State, frozenset[State]] = {
    "Queued": frozenset({"Claimed", "Error", "Cancelled"}),
    "Delayed": frozenset({"Queued", "Cancelled"}),
    "Claimed": frozenset({"Running", "Collecting", "Queued", "Delayed", "Error", "Cancelled"}),
    "Running": frozenset({"Collecting", "Queued", "Delayed", "Error", "Cancelled"}),
    "Collecting": frozenset({"Queued", "Delayed", "Completed", "Error", "Cancelled"}),
    "Completed": frozenset(),
    "Error": frozenset(),
    "Cancelled": frozenset(),
}
"""Which state may follow which. Back to `Queued` is the sweeper's, the drain's and the retry's; `Delayed` waits for an
attempt that is not due yet. The end states are final."""

ACTIVE: frozenset[State] = frozenset({"Claimed", "Running", "Collecting"})
"""A worker holds the run."""

WAITING: frozenset[State] = frozenset({"Queued", "Delayed"})
"""No worker holds the run, and it has not ended."""

ENDED: frozenset[State] = frozenset({"Completed", "Error", "Cancelled"})
"""Nothing follows."""

PRIORITY = {"Low": 0, "Normal": 1, "High": 2}
"""Higher goes first within a tenant's queue."""

PRIORITY_NAME = {number: name for name, number in PRIORITY.items()}

MAX_LOSSES = 3
"""How many workers may be lost under a run before it fails with WorkerLostError."""

SKIP_TAG = "skip-execution"
"""A cell with this tag is not run (SPEC.md: Executions)."""

RAISES_TAG = "raises-exception"
"""A cell with this tag may fail without stopping the run."""


def check_step(before: State, after: State) -> None:
    """Raise ValueError for a step that the state machine does not have."""
    if after not in NEXT[before]:
        raise ValueError(f"a run cannot go from {before} to {after}")


def status_of(state: State) -> ExecutionStatus:
    """The word that clients poll on."""
    if state in {"Completed", "Error", "Cancelled"}:
        return state
    return "Running"


def phase_of(state: State, phase: str | None) -> Phase | None:
    """What is shown inside `Running`; null once the run has ended."""
    if state in ENDED:
        return None
    return phase or "Queued"  # type: ignore[return-value]  # the table's check keeps it to the phases


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a run ended and whom to blame."""

    state: Literal["Completed", "Error", "Cancelled"]
    error_type: str | None = None
    error_message: str | None = None
    failed_cell: str | None = None
    skip_reason: str | None = None
    """Why the cells that did not run were skipped."""
    cause: RetryCause | None = "error"
    """Under which word of a retry policy the failure falls; None: it is never followed by another attempt."""

    @property
    def notebook_status(self) -> Literal["Ready", "Error", "Kernel_Dead"]:
        """What the notebook becomes if this run ended last."""
        if self.state != "Error":
            return "Ready"
        return "Kernel_Dead" if self.error_type == "DeadKernelError" else "Error"


COMPLETED = Verdict(state="Completed")
CANCELLED = Verdict(state="Cancelled")


def retry_wait_s(policy: Retry | None, verdict: Verdict, used: int) -> float | None:
    """How long to wait before the next attempt, in seconds, after `used` retries; None: there is none."""
    if policy is None or verdict.state != "Error" or verdict.cause not in policy.on or used >= policy.limit:
        return None
    factor = 2**used if policy.exponential else 1
    return float(min(policy.backoff_seconds * factor, MAX_BACKOFF_S))


def cells_in_range(cells: list[dict[str, Any]], wanted: CellRange | None) -> range:
    """The positions a run covers, both ends inclusive; raises Invalid for unknown or reversed cells."""
    if wanted is None:
        return range(len(cells))
    positions = {cell["id"]: position for position, cell in enumerate(cells)}
    faults = []
    ends = []
    for name, cell_id, default in (
        ("startCell", wanted.start_cell, 0),
        ("endCell", wanted.end_cell, len(cells) - 1),
    ):
        position = positions.get(cell_id) if cell_id else default
        if position is None:
            faults.append(Fault(path=f"cellRange.{name}", message=f"the notebook has no cell {cell_id!r}"))
            position = default
        ends.append(position)
    start, end = ends
    if not faults and start > end and cells:
        faults.append(Fault(path="cellRange", message="startCell comes after endCell; swap them"))
    if faults:
        raise Invalid("The cell range does not fit the notebook.", faults=faults)
    return range(start, end + 1)


def cells_asked_for(cells: list[dict[str, Any]], request: ExecutionRequest) -> range:
    """The positions that a request covers; raises Invalid."""
    if request.execution_mode == "all":
        return cells_in_range(cells, None)
    wanted = request.cell_range
    if wanted is None or not (wanted.start_cell or wanted.end_cell):
        fault = Fault(path="cellRange", message="executionMode range needs startCell, endCell or both")
        raise Invalid("The cell range is missing.", faults=[fault])
    return cells_in_range(cells, request.cell_range)


def cells_from(cells: list[dict[str, Any]], covered: range, from_cell: str | None) -> tuple[range, range]:
    """The positions to replay and the positions to run when a run of `covered` begins at `from_cell`; raises Invalid
    for a cell that is not among those covered."""
    if from_cell is None:
        return range(covered.start, covered.start), covered
    positions = {cell["id"]: position for position, cell in enumerate(cells)}
    position = positions.get(from_cell)
    if position is None:
        message = f"the notebook has no cell {from_cell!r}"
    elif position not in covered:
        message = f"{from_cell!r} is not among the cells of the range"
    else:
        return range(covered.start, position), range(position, covered.stop)
    raise Invalid("The first cell does not fit the notebook.", faults=[Fault(path="fromCell", message=message)])


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What decides when a waiting run is taken: its tenant's numbers and those of all workers."""

    active: int
    max_active: int
    workers: int
    free_slots: int
    reserved_slots: int = 0  # kept for tenants that have none


def reason_to_wait(queue: Queue) -> str:
    """Why a queued run is not running, in words."""
    if queue.workers == 0:
        return "no worker is running"
    if queue.active >= queue.max_active:
        return f"the tenant's limit of {queue.max_active} concurrent runs is reached"
    if queue.free_slots <= 0:
        return "waiting for a free worker slot"
    if queue.active > 0 and queue.free_slots <= queue.reserved_slots:
        return "waiting for a free worker slot; the last ones are kept for tenants that have none"
    return "about to be taken by a worker"


def reason_of_delay(policy: Retry | None, *, attempt: int, retries: int, seconds: float) -> str:
    """Why a run waits that has failed in `attempt` and made or promised `retries`, in words."""
    last = attempt + 1 + (policy.limit - retries if policy is not None else 0)
    return f"waiting for attempt {attempt + 1} of {last} in {max(math.ceil(seconds), 1)} s"


@dataclass
class Tally:
    """The cells of a run and how far it is; one per run, changed by the worker as cells end."""

    results: list[CellResult]
    current: int | None = None
    _place: dict[str, int] = field(init=False)
    _counts: Counter[CellStatus] = field(init=False)

    def __post_init__(self) -> None:
        self._place = {result.cell_id: place for place, result in enumerate(self.results)}
        self._counts = Counter(result.status for result in self.results)

    def place(self, cell_id: str) -> int:
        """The cell's place among those that run, from 0."""
        return self._place[cell_id]

    def put(self, result: CellResult) -> None:
        """Replace a cell's result."""
        place = self._place[result.cell_id]
        self._counts[self.results[place].status] -= 1
        self._counts[result.status] += 1
        self.results[place] = result

    def leave_rest(self, status: Literal["Skipped", "Cancelled"], reason: str | None = None) -> list[CellResult]:
        """Mark every cell that has not ended, with the reason why it was skipped; returns those."""
        changed = []
        for result in self.results:
            if result.status in ("Pending", "Running"):
                left = result.model_copy(
                    update={"status": status, "skip_reason": reason if status == "Skipped" else None}
                )
                self.put(left)
                changed.append(left)
        return changed

    def progress(self, *, completed: bool = False) -> Progress:
        """The progress object; 100 percent exactly when the run is `completed`."""
        counts, total = self._counts, len(self.results)
        done = counts["Success"] + counts["Error"] + counts["Skipped"]
        percent = round(100 * done / total) if total else 0
        return Progress(
            total_cells=total,
            completed_cells=total if completed else done,
            successful_cells=counts["Success"],
            failed_cells=counts["Error"],
            current_cell_index=None if self.current is None else self.current + 1,
            percent_complete=100 if completed else min(percent, 99),
        )


def pending_cells(cell_ids: Iterable[str]) -> list[CellResult]:
    """The results of a run that has not begun."""
    return [CellResult(cell_id=cell_id, status="Pending") for cell_id in cell_ids]
