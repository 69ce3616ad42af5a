"""Where data came from and what was made of it: dataset version, execution of a notebook version, result, dataset."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Body, Command, Moment, OptionalId, Page, Wire
from shared.contracts.datasets import ArtifactsCommand, DatasetOrigin
from shared.contracts.executions import ControlCommand, ExecutionStatus


class AdoptionRequest(Body):
    """The body of `POST …/artifacts/{artifactId}/dataset`; every member is optional."""

    dataset_id: OptionalId = Field(None, description="gets a new version; without it a new dataset is made")
    dataset_name: str | None = Field(None, max_length=200, description="the artifact's own name unless given")
    case_id_column: str | None = None
    activity_column: str | None = None
    time_column: str | None = None


class RunTrace(Wire):
    """A run as lineage sees it."""

    execution_id: UUID
    notebook_id: UUID
    notebook_version: str
    dataset_id: UUID | None
    dataset_version: int | None
    status: ExecutionStatus
    start_time: Moment
    end_time: Moment | None
    epoch: int | None = Field(description="under which its results are registered")


class RunTracePage(Page):
    """A page of runs, newest first."""

    runs: list[RunTrace]


class TraceExecution(ControlCommand, Command[RunTrace]):
    """What a run read, and where its results are."""

    execution_id: UUID
    notebook_id: UUID


class TraceDataset(ControlCommand, Command[RunTracePage]):
    """The runs that read a dataset, or one version of it."""

    dataset_id: UUID
    version: int | None = None
    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class MadeDataset(Wire):
    """A dataset version that was made from a result."""

    dataset_id: UUID
    dataset_name: str
    version: int
    artifact_id: UUID


class EnrichedResult(Wire):
    """An enriched dataset as a run left it."""

    name: str
    record_count: int
    new_columns: list[str]
    artifact_ids: dict[str, UUID]


class RunRef(Wire):
    """A run's results."""

    execution_id: UUID
    epoch: int | None


class RunProducts(Wire):
    """What came of a run."""

    execution_id: UUID
    enriched_datasets: list[EnrichedResult]
    datasets: list[MadeDataset]


class ProductsOfRuns(Wire):
    """What came of some runs, in the order in which they were asked for."""

    runs: list[RunProducts]


class ListProducts(ArtifactsCommand, Command[ProductsOfRuns]):
    """The enriched datasets of runs, and the datasets that were made from their results."""

    runs: list[RunRef]


class DatasetOrigins(Wire):
    """Where a dataset version came from, the nearest first; empty for one that was uploaded."""

    dataset_id: UUID
    dataset_name: str
    version: int
    origins: list[DatasetOrigin]


class GetDatasetOrigins(ArtifactsCommand, Command[DatasetOrigins]):
    """The chain of runs behind a dataset version, or the present one."""

    dataset_id: UUID
    version: int | None = None


class LineageRun(Wire):
    """A run and what came of it, on the API."""

    execution_id: UUID
    notebook_id: UUID
    notebook_version: str
    dataset_id: UUID | None
    dataset_version: int | None
    status: ExecutionStatus
    start_time: Moment
    end_time: Moment | None
    enriched_datasets: list[EnrichedResult]
    datasets: list[MadeDataset] = Field(description="datasets that were made from its results")


class DatasetLineage(Page):
    """The answer of `GET dataset/{id}/lineage`; the page members belong to `usedBy`."""

    kind: Literal["dataset"] = "dataset"
    dataset_id: UUID
    dataset_name: str
    version: int
    origins: list[DatasetOrigin]
    used_by: list[LineageRun]


class ExecutionLineage(LineageRun):
    """The answer of `GET …/execution/{id}/lineage`."""

    kind: Literal["execution"] = "execution"
    origins: list[DatasetOrigin] = Field(description="of the dataset that it read, the nearest first")
