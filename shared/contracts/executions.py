"""Executions: the commands that executor control answers, and the shapes of a run on the API."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, JsonValue

from shared.contracts.base import Body, Command, Moment, Nothing, Page, Wire
from shared.contracts.retries import Attempt, Retry
from shared.contracts.schedules import Trigger

ExecutionStatus = Literal["Running", "Completed", "Error", "Cancelled"]
Phase = Literal["Queued", "PreparingEnvironment", "StartingKernel", "ExecutingCells", "CollectingResults"]
CellStatus = Literal["Pending", "Running", "Success", "Error", "Skipped", "Cancelled"]
Priority = Literal["Low", "Normal", "High"]

DEFAULT_TIMEOUT_S = 1800
"""A run's time limit unless it says otherwise, in seconds (SPEC.md: Executions)."""

MAX_TIMEOUT_S = 86_400
"""The longest time limit a run may ask for: one day, in seconds."""


def _null_is_empty(value: Any) -> Any:
    return {} if value is None else value


class CellRange(Body):
    """The first and the last cell to run, both inclusive."""

    start_cell: str | None = None
    end_cell: str | None = None


class OutputOptions(Body):
    """What a run keeps."""

    capture_outputs: bool = Field(True, description="false keeps only errors")
    save_intermediate_results: bool = Field(False, description="true lists artifacts while running")
    generate_report: bool = Field(False, description="true adds an HTML report of the whole notebook")


class ExecutionRequest(Body):
    """The body of `POST notebook/{id}/execute`; every member is optional."""

    execution_mode: Literal["all", "range"] = "all"
    cell_range: CellRange | None = None
    parameters: Annotated[dict[str, JsonValue], BeforeValidator(_null_is_empty)] = Field(default_factory=dict)
    output_options: Annotated[OutputOptions, BeforeValidator(_null_is_empty)] = Field(default_factory=OutputOptions)
    timeout: int = Field(DEFAULT_TIMEOUT_S, ge=1, le=MAX_TIMEOUT_S, description="seconds, from leaving the queue")
    priority: Priority = "Normal"
    cell_timeout: int | None = Field(None, ge=1, le=MAX_TIMEOUT_S, description="seconds a cell may take")
    queue_timeout: int | None = Field(None, ge=1, le=MAX_TIMEOUT_S, description="seconds the run may wait")
    error_policy: Literal["stop", "continue"] | None = None
    retry: Retry | None = Field(None, description="when to begin anew after a failure; default: the notebook's own")
    version: str | None = Field(None, description="the notebook version to run; default: the present one")
    strict_parameters: bool | None = Field(None, description="refuse parameters that the notebook does not declare")
    dry_run: bool = Field(False, description="check the request and run nothing")


class RerunRequest(Body):
    """The body of `POST …/execution/{id}/rerun`. A member that is absent or null is that of the run to repeat;
    `parameters` are merged by name. The version is always that run's."""

    from_cell: str | None = Field(
        None, description="first cell to run and count; the cells before it are replayed to prepare, and not counted"
    )
    execution_mode: Literal["all", "range"] | None = None
    cell_range: CellRange | None = None
    parameters: dict[str, JsonValue] | None = Field(None, description="override those of the run, name by name")
    output_options: OutputOptions | None = None
    timeout: int | None = Field(None, ge=1, le=MAX_TIMEOUT_S, description="seconds, from leaving the queue")
    priority: Priority | None = None
    cell_timeout: int | None = Field(None, ge=1, le=MAX_TIMEOUT_S, description="seconds a cell may take")
    queue_timeout: int | None = Field(None, ge=1, le=MAX_TIMEOUT_S, description="seconds the run may wait")
    error_policy: Literal["stop", "continue"] | None = None
    retry: Retry | None = None
    strict_parameters: bool | None = None
    dry_run: bool = Field(False, description="check the request and run nothing")

    def applied_to(self, before: ExecutionRequest) -> ExecutionRequest:
        """The request of the new run."""
        given = {
            name: value
            for name in type(self).model_fields
            if name not in ("from_cell", "parameters", "dry_run") and (value := getattr(self, name)) is not None
        }
        if self.cell_range is not None and self.execution_mode is None:
            given["execution_mode"] = "range"
        given["parameters"] = {**before.parameters, **(self.parameters or {})}
        return before.model_copy(update={**given, "version": None, "dry_run": False})


class Progress(Wire):
    """How far a run is, in cells."""

    total_cells: int
    completed_cells: int
    successful_cells: int
    failed_cells: int
    current_cell_index: int | None
    percent_complete: int


class CellResources(Wire):
    """What a cell used; null: it could not be told. `method` says how it was measured, as for the run."""

    peak_memory_usage: str = "unknown"
    peak_memory_usage_bytes: int | None = Field(None, description="the most memory of all processes during the cell")
    cpu_time: str = "unknown"
    cpu_time_seconds: float | None = None
    disk_usage: str = "unknown"
    disk_usage_bytes: int | None = Field(None, description="by how much the run's files have grown")
    method: str | None = None


class CellResult(Wire):
    """What became of one cell."""

    cell_id: str
    status: CellStatus
    execution_time: str | None = None
    execution_time_seconds: float | None = None
    execution_count: int | None = None
    has_output: bool = False
    output_type: str | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    resources: CellResources | None = Field(None, description="null for a cell that was not run")
    skip_reason: str | None = Field(None, description="why the cell was skipped; null for one that was not")


class EnrichedData(Wire):
    """Size and gain of the enriched datasets of a run."""

    record_count: int
    new_columns: list[str]


class OutputCounts(Wire):
    """What a run produced, counted."""

    data_frames: int = 0
    plots: int = 0
    models: int = 0
    reports: int = 0
    enriched_data: EnrichedData | None = None


class Resources(Wire):
    """What a run used; `method` says how it was measured."""

    peak_memory_usage: str = "unknown"
    peak_memory_usage_bytes: int | None = None
    cpu_time: str = "unknown"
    cpu_time_seconds: float | None = None
    disk_usage: str = "unknown"
    disk_usage_bytes: int | None = Field(None, description="the most that the run's files took at a time, as seen")
    method: str | None = Field(None, description="cgroup, wait4 or proc: how memory and processor time were measured")


class Execution(Wire):
    """The status object."""

    execution_id: UUID
    notebook_id: UUID
    notebook_version: str
    status: ExecutionStatus
    phase: Phase | None
    start_time: Moment = Field(description="When the run was accepted.")
    end_time: Moment | None
    estimated_duration: str
    estimated_duration_seconds: float | None
    total_duration: str
    total_duration_seconds: float | None
    queued_seconds: float
    queue_position: int | None
    queue_reason: str | None
    current_cell: str | None
    progress: Progress
    parameters: dict[str, Any]
    warnings: list[str]
    cell_results: list[CellResult]
    outputs: OutputCounts
    resources: Resources
    error_type: str | None
    error_message: str | None
    failed_cell: str | None
    execution_mode: Literal["all", "range"]
    priority: Priority
    timeout: int
    created_by: str
    trigger: Trigger = Field(description="why it was started")
    dataset_id: UUID | None = Field(None, description="the dataset that it reads")
    dataset_version: int | None = None
    rerun_of: UUID | None = Field(None, description="the run that this one repeats")
    from_cell: str | None = Field(None, description="cells of the range before it were replayed and are not counted")
    attempt: int = Field(0, description="how often the run was begun; 0 while it waits for the first time")
    attempts: list[Attempt] = Field(default_factory=list, description="each time it was begun, and how that ended")
    retry: Retry | None = Field(None, description="when a failure is followed by another attempt")


class ExecutionPage(Page):
    """The answer of `GET notebook/{id}/executions`."""

    executions: list[Execution]


class DryRun(Wire):
    """What a run would do."""

    valid: bool
    parameters: dict[str, Any]
    warnings: list[str]
    total_cells: int


class ControlCommand:
    """Marks where a command goes."""

    service: ClassVar[str] = "executor"


class StartExecution(ControlCommand, Command[Execution]):
    """Accept a run: pin notebook version and dataset version, check parameters, queue it.

    A run that starts by itself says what to do when the notebook has a run that has not ended: `refuse` is a conflict
    whose `running` names those, `replace` cancels them and is that conflict until they have ended. However often it is
    sent, it takes effect once for its `execution_id`, even when that run was removed since."""

    write = True
    execution_id: UUID
    notebook_id: UUID
    request: ExecutionRequest
    trigger: Trigger = Trigger()
    overlap: Literal["allow", "refuse", "replace"] = "allow"


class CheckExecution(ControlCommand, Command[DryRun]):
    """`dryRun`: everything StartExecution checks, and nothing kept."""

    notebook_id: UUID
    request: ExecutionRequest


class RerunExecution(ControlCommand, Command[Execution]):
    """Accept a new run of what another run had pinned: the same version, the same dataset version."""

    write = True
    execution_id: UUID
    rerun_of: UUID
    notebook_id: UUID
    request: RerunRequest


class CheckRerun(ControlCommand, Command[DryRun]):
    """`dryRun` of a rerun: everything RerunExecution checks, and nothing kept."""

    rerun_of: UUID
    notebook_id: UUID
    request: RerunRequest


class RunLimits(Wire):
    """What one run may use on a worker; null: no limit."""

    memory_bytes: int
    processes: int
    open_files: int
    file_bytes: int
    disk_bytes: int
    files: int
    cpu_seconds: int | None
    processors: float | None


class Quota(Wire):
    """How many runs a tenant may have, and has; and what each may use."""

    max_active: int
    max_queued: int
    active: int
    queued: int
    run: RunLimits


class GetQuota(ControlCommand, Command[Quota]):
    """The tenant's numbers in force; the scope's project does not matter."""


class BasePython(Wire):
    """The Python of the base environment; null while no worker has been heard of."""

    python_version: str | None


class GetBasePython(ControlCommand, Command[BasePython]):
    """The Python that notebooks run on which ask for no version; the scope does not matter."""


class ExecutionNotebook(Wire):
    """A run's notebook as far as control knows it; `ended` says whether there can be more of it among the results."""

    file_name: str
    content: dict[str, Any]
    ended: bool


class GetExecutionNotebook(ControlCommand, Command[ExecutionNotebook]):
    """While the run goes on, its notebook with the outputs so far; else the pinned one without."""

    execution_id: UUID
    notebook_id: UUID


class GetExecution(ControlCommand, Command[Execution]):
    """The status object; `notebook_id` null accepts any notebook of the project."""

    execution_id: UUID
    notebook_id: UUID | None = None


class GetLatestExecution(ControlCommand, Command[Execution]):
    """The status object of the notebook's newest run; not found before any run."""

    notebook_id: UUID


class ListExecutions(ControlCommand, Command[ExecutionPage]):
    """Runs of a notebook, or of the whole project, newest first; `active` true lists those that have not ended,
    false those that have."""

    notebook_id: UUID | None = None
    status: ExecutionStatus | None = None
    active: bool | None = None
    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class CancelExecution(ControlCommand, Command[Execution]):
    """Stop a run: at once while it is queued, else through its worker; a conflict when it has ended."""

    write = True
    execution_id: UUID
    notebook_id: UUID | None = None


class PurgeExecution(ControlCommand, Command[Nothing]):
    """Remove an ended run and everything stored of it."""

    write = True
    execution_id: UUID
    notebook_id: UUID


class CellActivity(Wire):
    """The run members of a cell on the notebook object."""

    execution_count: int | None
    has_output: bool
    last_executed: Moment | None
    execution_status: str | None


class NotebookActivity(Wire):
    """The run members of a notebook, from executor's own tables."""

    status: Literal["Ready", "Running", "Error", "Kernel_Dead"]
    execution_count: int
    last_execution_date: Moment | None
    cells: dict[str, CellActivity]


class GetNotebookActivity(ControlCommand, Command[NotebookActivity]):
    """What executor knows of a notebook; all empty before any run."""

    notebook_id: UUID


class BlockNotebook(ControlCommand, Command[Nothing]):
    """First step of deleting a notebook: refuse new runs for ever. A conflict while a run has not ended, unless
    `force`, which cancels those and waits for their end. Catalog follows on the resulting fact."""

    write = True
    notebook_id: UUID
    force: bool = False


class ExecutionEventPage(Wire):
    """Events of a run as stored, in sequence: each a whole CloudEvents object."""

    events: list[dict[str, Any]]
    ended: bool = Field(description="the run's terminal event is among these or before them")


class ListExecutionEvents(ControlCommand, Command[ExecutionEventPage]):
    """The run's events after sequence number `after`, at most `limit`."""

    execution_id: UUID
    notebook_id: UUID
    after: int = 0
    limit: int = 500


class InstalledPackage(Wire):
    """One distribution of an environment."""

    name: str
    version: str


class ExecutionEnvironment(Wire):
    """The answer of `GET …/execution/{id}/environment`: what the kernel had."""

    execution_id: UUID
    notebook_id: UUID
    environment_id: str = Field(description="The hash of everything it is made of; equal ids are equal environments.")
    source: Literal["base", "built"] = Field(description="The base environment, or one built for its requirements.")
    python_version: str | None = Field(description="Null for other languages: those have what their worker has.")
    preparation_seconds: float | None = Field(description="How long the run was in `PreparingEnvironment`.")
    packages: list[InstalledPackage]
    lock: str = Field(description="The same in requirements.txt form; with hashes what came from the package index.")


class GetExecutionEnvironment(ControlCommand, Command[ExecutionEnvironment]):
    """What the run runs in; not found before it is prepared."""

    execution_id: UUID
    notebook_id: UUID


class ResultsLocation(Wire):
    """Under which epoch a run's artifacts are registered; null while there are none."""

    execution_id: UUID
    notebook_id: UUID
    status: ExecutionStatus
    epoch: int | None
    cell_ids: list[str]
    is_earlier_attempt: bool = Field(False, description="the epoch is that of an attempt which another followed")


class ValueSource(Wire):
    """A completed run whose saved values are asked for, and under which epoch they are registered."""

    execution_id: UUID
    notebook_id: UUID
    notebook_version: str
    date_ended: Moment
    epoch: int | None
    parameters: dict[str, Any]


class LocateValue(ControlCommand, Command[ValueSource]):
    """The newest completed run of a notebook, or the given one if it is completed; not found when there is none."""

    notebook_id: UUID
    execution_id: UUID | None = None


class LocateResults(ControlCommand, Command[ResultsLocation]):
    """Where to ask artifacts for this run's results (DESIGN.md decision 6), or for those of one of its attempts."""

    execution_id: UUID
    notebook_id: UUID
    attempt: int | None = None
