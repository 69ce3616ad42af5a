"""Two runs of a notebook side by side: what executor adds for it, and the shape of the comparison on the API."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Command, Moment, Wire
from shared.contracts.executions import CellStatus, ControlCommand, ExecutionStatus
from shared.contracts.results import ArtifactKind
from shared.contracts.versions import CellDifference, FileDifference, SettingDifference

ValueChange = Literal["added", "removed", "changed"]
OutputChange = Literal["same", "added", "removed", "changed"]


class DatasetVersion(Wire):
    """Which data a run read."""

    dataset_id: UUID
    dataset_name: str
    version: int
    record_count: int
    sha256: str


class ExecutionInputs(Wire):
    """What a run was given."""

    execution_id: UUID
    notebook_version: str
    parameters: dict[str, Any] = Field(description="As the run saw them, defaults included.")
    dataset: DatasetVersion | None


class GetExecutionInputs(ControlCommand, Command[ExecutionInputs]):
    """The versions that a run pinned, and its parameters."""

    execution_id: UUID
    notebook_id: UUID


class ComparedRun(Wire):
    """One of the two runs."""

    execution_id: UUID
    notebook_version: str
    status: ExecutionStatus
    start_time: Moment
    end_time: Moment | None
    created_by: str
    error_type: str | None
    error_message: str | None
    failed_cell: str | None


class SourceComparison(Wire):
    """The notebook versions that ran: `a` and `b` name them, `cells`, `files` and `settings` say how b differs."""

    equal: bool
    a: str
    b: str
    cells: list[CellDifference]
    files: list[FileDifference] = Field(default_factory=list, description="Files beside the notebook that differ.")
    settings: list[SettingDifference]


class ParameterDifference(Wire):
    """A parameter that differs; `a` or `b` is null where a run did not have it."""

    name: str
    change: ValueChange
    a: Any
    b: Any


class ParameterComparison(Wire):
    """The parameters as the runs saw them."""

    equal: bool
    differences: list[ParameterDifference]


class PackageDifference(Wire):
    """A distribution of which the runs had other versions; null where a run had none."""

    name: str
    a: str | None
    b: str | None


class EnvironmentComparison(Wire):
    """The environments by their locks. Ids are null, and `equal` too, where a run was never prepared."""

    equal: bool | None
    a: str | None
    b: str | None
    python_version_a: str | None
    python_version_b: str | None
    packages: list[PackageDifference]


class DatasetComparison(Wire):
    """The dataset versions that the runs read."""

    equal: bool
    a: DatasetVersion | None
    b: DatasetVersion | None


class ComparedOutput(Wire):
    """One output of a run, by its bytes."""

    artifact_id: UUID
    content_type: str
    size_bytes: int
    sha256: str


class OutputDifference(Wire):
    """An output of the two runs: the same bytes, others, or only one run has it."""

    cell_id: str | None
    kind: ArtifactKind
    name: str
    change: OutputChange
    a: ComparedOutput | None
    b: ComparedOutput | None


class OutputComparison(Wire):
    """All outputs, enriched datasets, models, reports and values, in the order in which the runs made them."""

    equal: bool
    items: list[OutputDifference]


class CellTiming(Wire):
    """How a cell fared in the two runs; null where a run did not have it."""

    cell_id: str
    status_a: CellStatus | None
    status_b: CellStatus | None
    seconds_a: float | None
    seconds_b: float | None


class TimingComparison(Wire):
    """Seconds; null where unknown."""

    total_seconds_a: float | None
    total_seconds_b: float | None
    queued_seconds_a: float
    queued_seconds_b: float
    preparation_seconds_a: float | None
    preparation_seconds_b: float | None
    cells: list[CellTiming]


class ExecutionComparison(Wire):
    """The answer of `GET …/execution/{a}/compare/{b}`."""

    notebook_id: UUID
    a: ComparedRun
    b: ComparedRun
    same_inputs: bool = Field(description="Source, parameters, environment and dataset are equal.")
    source: SourceComparison
    parameters: ParameterComparison
    environment: EnvironmentComparison
    dataset: DatasetComparison
    outputs: OutputComparison
    timings: TimingComparison
