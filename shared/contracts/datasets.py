"""Datasets: the commands that artifacts answers about event logs, and their shape on the API."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Command, Event, Moment, Nothing, Page, Wire
from shared.contracts.notebooks import Precondition


class ArtifactsCommand:
    """Marks where a command goes."""

    service: ClassVar[str] = "artifacts"


class Column(Wire):
    """A column of a dataset: its name and its type (`string`, `integer`, `number`, `boolean`, `timestamp`, `date`)."""

    name: str
    type: str


class Dataset(Wire):
    """The dataset object."""

    dataset_id: UUID
    project_id: UUID
    dataset_name: str
    version: int
    record_count: int
    case_count: int | None
    columns: list[Column]
    case_id_column: str | None
    activity_column: str | None
    time_column: str | None
    size_bytes: int = Field(description="Size of the stored Parquet object.")
    sha256: str
    date_created: Moment
    date_modified: Moment
    created_by: str
    etag: str | None = Field(None, description="Changes with every version.")


class DatasetPage(Page):
    """The answer of `GET datasets`."""

    items: list[Dataset]


class GetDataset(ArtifactsCommand, Command[Dataset]):
    """The dataset's present version, or another one."""

    dataset_id: UUID
    version: int | None = None


class ListDatasets(ArtifactsCommand, Command[DatasetPage]):
    """A page of the project's datasets, newest first."""

    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class DeleteDataset(ArtifactsCommand, Command[Nothing]):
    """Remove a dataset with its stored objects."""

    write = True
    dataset_id: UUID
    precondition: Precondition = Precondition()


class PinnedDataset(Wire):
    """One immutable version of a dataset, for a run to read."""

    dataset: Dataset
    object_key: str


class PinDataset(ArtifactsCommand, Command[PinnedDataset]):
    """Resolve the dataset version that a run will read."""

    dataset_id: UUID


class UploadTicket(Wire):
    """Where to stream bytes to, and the signed right to do so."""

    url: str
    ticket: str


class DatasetOrigin(Wire):
    """Where a dataset version came from: the result of a run, and what that run had read."""

    execution_id: UUID
    notebook_id: UUID
    notebook_version: str
    artifact_id: UUID
    artifact_name: str
    dataset_id: UUID | None = Field(description="the dataset that the run read")
    dataset_name: str | None
    dataset_version: int | None


class AdoptedArtifact(Wire):
    """A result of a run that becomes a dataset version."""

    execution_id: UUID
    epoch: int
    artifact_id: UUID
    origin: DatasetOrigin


class OpenDatasetUpload(ArtifactsCommand, Command[UploadTicket]):
    """Obtain an address and a ticket for streaming a file to artifacts (DESIGN.md decision 4). To `replace` is to add a
    version to a dataset; an empty `dataset_name` then keeps the name."""

    dataset_id: UUID
    dataset_name: str
    file_name: str
    purpose: Literal["create", "replace"] = "create"
    case_id_column: str | None = None
    activity_column: str | None = None
    time_column: str | None = None
    precondition: Precondition = Precondition()
    artifact: AdoptedArtifact | None = Field(None, description="whose bytes are taken instead of a body")


class DatasetEvent(Event):
    """What all dataset facts carry."""

    dataset_id: UUID
    dataset_name: str
    version: int
    record_count: int

    def subject(self) -> str:
        """`dataset/<id>`."""
        return f"dataset/{self.dataset_id}"

    def path(self) -> list[UUID]:
        """The dataset's id."""
        return [self.dataset_id]


class DatasetCreated(DatasetEvent):
    """A dataset is ready to be bound."""

    type = "dataset.created"


class DatasetUpdated(DatasetEvent):
    """A dataset has new data."""

    type = "dataset.updated"


class DatasetDeleted(DatasetEvent):
    """A dataset is gone."""

    type = "dataset.deleted"
