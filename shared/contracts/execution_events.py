"""The facts of one run, numbered without a gap: what SSE readers, subscribers and catalog's projection hear."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Event, Moment, Wire
from shared.contracts.executions import (
    CellActivity,
    CellStatus,
    ExecutionStatus,
    OutputCounts,
    Phase,
    Priority,
    Progress,
    Resources,
)
from shared.contracts.schedules import Trigger


class ExecutionEvent(Event):
    """What all facts of a run carry. The sequence number is in the envelope."""

    execution_id: UUID
    notebook_id: UUID

    def subject(self) -> str:
        """`execution/<id>`."""
        return f"execution/{self.execution_id}"

    def path(self) -> list[UUID]:
        """The notebook's id and the execution's."""
        return [self.notebook_id, self.execution_id]


class ExecutionQueued(ExecutionEvent):
    """A run was accepted; always number 1."""

    type = "execution.queued"
    notebook_version: str
    total_cells: int
    priority: Priority
    accepted_at: Moment
    created_by: str
    trigger: Trigger = Trigger()


class ExecutionStarted(ExecutionEvent):
    """A worker has taken the run. Comes again, with a higher attempt, after one has failed or its worker was lost."""

    type = "execution.started"
    attempt: int
    started_at: Moment
    queued_seconds: float


class ExecutionPhaseChanged(ExecutionEvent):
    """The run entered another phase."""

    type = "execution.phase_changed"
    phase: Phase


class CellStarted(ExecutionEvent):
    """A code cell began to run."""

    type = "execution.cell_started"
    cell_id: str
    cell_index: int
    progress: Progress


class CellProgressed(ExecutionEvent):
    """The cell itself reported how far it is (`client.progress`)."""

    type = "execution.cell_progressed"
    cell_id: str
    fraction: float
    message: str


class NewOutput(Wire):
    """One thing that a running cell has put out, or the text it added to a stream."""

    output_type: Literal["stream", "display_data", "execute_result", "update_display_data", "error"]
    name: Literal["stdout", "stderr"] | None = Field(None, description="of a stream")
    text: str | None = Field(
        None, description="what was added to the stream, as a terminal shows it; else the plain form, if there is one"
    )
    cut_characters: int = Field(0, description="so many characters before `text` were left out")
    mime_types: list[str] = Field(default_factory=list)
    size_bytes: int = Field(description="of all its forms, near enough")


class CellOutput(ExecutionEvent):
    """A running cell has put something out; at most ten a second and run, joined in between."""

    type = "execution.cell_output"
    cell_id: str
    cell_index: int
    cleared: bool = Field(False, description="everything that the cell had put out before is gone")
    outputs: list[NewOutput]
    omitted_outputs: int = Field(0, description="so many outputs before these are not listed")
    link: str | None = Field(None, description="where the notebook so far has what is cut or has no text; a path")


class CellCompleted(ExecutionEvent):
    """A cell came to its end, whatever that was. `outputs` are those that no event of the running cell has told of."""

    type = "execution.cell_completed"
    cell_id: str
    cell_index: int
    status: CellStatus
    execution_time_seconds: float | None
    has_output: bool
    output_type: str | None
    error_type: str | None = None
    error_message: str | None = None
    progress: Progress
    cleared: bool = Field(False, description="what earlier events told of the cell's output is gone")
    outputs: list[NewOutput] = Field(default_factory=list)
    omitted_outputs: int = Field(0, description="so many outputs before these are not listed")


class ResultsRegistered(ExecutionEvent):
    """Some results can be read while the run goes on (`saveIntermediateResults`)."""

    type = "execution.results_registered"
    artifact_count: int


class AttemptFailed(ExecutionEvent):
    """An attempt has failed and another follows, by the run's policy or since its worker was lost."""

    type = "execution.attempt_failed"
    attempt: int
    started_at: Moment
    ended_at: Moment
    error_type: str
    error_message: str | None
    failed_cell: str | None
    retry_at: Moment


class ExecutionRequeued(ExecutionEvent):
    """The run went back to the queue: an attempt failed and the next is due, or its worker is being drained."""

    type = "execution.requeued"
    reason: str
    attempt: int


class ExecutionEnded(ExecutionEvent):
    """What all terminal facts carry; exactly one per run, always the last."""

    notebook_version: str
    status: ExecutionStatus
    accepted_at: Moment
    ended_at: Moment
    total_duration_seconds: float | None
    progress: Progress
    outputs: OutputCounts
    resources: Resources
    error_type: str | None = None
    error_message: str | None = None
    failed_cell: str | None = None
    notebook_status: Literal["Ready", "Error", "Kernel_Dead"]
    cells: dict[str, CellActivity]


class ExecutionCompleted(ExecutionEnded):
    """The run came to its end; its results are complete."""

    type = "execution.completed"


class ExecutionFailed(ExecutionEnded):
    """The run ended in `Error`."""

    type = "execution.failed"


class ExecutionCancelled(ExecutionEnded):
    """The run was cancelled."""

    type = "execution.cancelled"


class NotebookBlocked(Event):
    """Executor refuses new runs of this notebook for ever; catalog now hides it (DESIGN.md decision 5, delete)."""

    type = "notebook.blocked"
    notebook_id: UUID
    changed_by: str

    def subject(self) -> str:
        """`notebook/<id>`."""
        return f"notebook/{self.notebook_id}"

    def path(self) -> list[UUID]:
        """The notebook's id."""
        return [self.notebook_id]


class ExecutionPurged(Event):
    """An ended run was removed, by its owner or by retention; artifacts removes what it stored."""

    type = "execution.purged"
    execution_id: UUID
    notebook_id: UUID

    def subject(self) -> str:
        """`execution/<id>`."""
        return f"execution/{self.execution_id}"

    def path(self) -> list[UUID]:
        """The notebook's id and the execution's."""
        return [self.notebook_id, self.execution_id]
