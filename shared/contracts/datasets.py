"""Datasets: the commands that artifacts answers about event logs, and their shape on the API."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from shared.contracts.base import Command, Event, Moment, Nothing, Page, Wire
from shared.contracts.notebooks import Precondition


class ArtifactsCommand:
    """Marks where a command goes."""

    service: ClassVar[str] = "artifacts"


class Column(Wire):
    """A column of a dataset: its name and its type.

    One of `string`, `integer`, `number`, `boolean`, `timestamp`, `date` and `duration`.
    """

    name: str
    type: str


Encoding = Literal[
    "utf-8",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-15",
    "shift_jis",
    "gb18030",
    "euc-kr",
]
"""The encodings that a CSV file may be said to be in."""

ProfileState = Literal["Pending", "Ready", "Failed"]

UploadPhase = Literal["Receiving", "Converting", "Storing", "Ready", "Failed"]


class TextWriting(Wire):
    """How a CSV file is written, as far as its sender says; what is None is found out."""

    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    time_format: str | None = None


class DatasetSource(Wire):
    """The file that a version was made of, and how it was read."""

    file_name: str | None = None
    format: str
    gzip: bool = False
    size_bytes: int | None = Field(None, description="Size of the file as it was sent.")
    sha256: str | None = Field(None, description="Hash of the file as it was sent.")
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    time_formats: dict[str, str] | None = Field(None, description="How each column of times was written.")


class ProfileStatus(Wire):
    """How far the profile of a version is; it is computed after the version is ready."""

    state: ProfileState = "Pending"


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
    source: DatasetSource | None = None
    profile: ProfileStatus = ProfileStatus()


class DatasetPage(Page):
    """The answer of `GET datasets`."""

    items: list[Dataset]


class DatasetVersion(Wire):
    """One version of a dataset."""

    version: int
    record_count: int
    case_count: int | None
    columns: list[Column]
    case_id_column: str | None
    activity_column: str | None
    time_column: str | None
    size_bytes: int
    sha256: str
    date_created: Moment
    created_by: str
    source: DatasetSource | None
    profile: ProfileStatus


class DatasetVersionPage(Page):
    """The answer of `GET dataset/{datasetId}/versions`."""

    items: list[DatasetVersion]


class DatasetPreview(Wire):
    """The first rows of a version. Values are exact: what a double cannot hold is a text, and so are times."""

    dataset_id: UUID
    version: int
    record_count: int
    columns: list[Column]
    rows: list[dict[str, JsonValue]]


class TopValue(Wire):
    """A value that occurs often."""

    value: JsonValue
    count: int


class ColumnProfile(Wire):
    """What the values of a column are like. Missing values count nowhere but in `null_count`."""

    name: str
    type: str
    null_count: int
    distinct_count: int = Field(description="Exact, or an estimate within about two percent.")
    distinct_is_exact: bool
    min: JsonValue
    max: JsonValue
    top_values: list[TopValue] = Field(description="The most frequent, at most ten.")
    top_is_exact: bool = Field(description="False where rare values were too many to be counted to the end.")


class DatasetProfile(Wire):
    """The profile of a version; `columns` is empty until `state` is `Ready`."""

    dataset_id: UUID
    version: int
    state: ProfileState
    record_count: int
    columns: list[ColumnProfile]


class UploadProgress(Wire):
    """How far an upload is."""

    upload_id: UUID
    dataset_id: UUID
    phase: UploadPhase
    bytes_received: int
    rows_converted: int
    error: str | None
    date_created: Moment
    date_modified: Moment


class GetDataset(ArtifactsCommand, Command[Dataset]):
    """The dataset's present version, or another one."""

    dataset_id: UUID
    version: int | None = None


class ListDatasets(ArtifactsCommand, Command[DatasetPage]):
    """A page of the project's datasets, newest first."""

    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class ListDatasetVersions(ArtifactsCommand, Command[DatasetVersionPage]):
    """A page of a dataset's versions, newest first."""

    dataset_id: UUID
    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class PreviewDataset(ArtifactsCommand, Command[DatasetPreview]):
    """The first rows of a version."""

    dataset_id: UUID
    version: int | None = None
    rows: int = 20


class GetDatasetProfile(ArtifactsCommand, Command[DatasetProfile]):
    """What the columns of a version hold."""

    dataset_id: UUID
    version: int | None = None


class GetUploadProgress(ArtifactsCommand, Command[UploadProgress]):
    """How far an upload is whose sender gave it an id."""

    upload_id: UUID


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
    writing: TextWriting = TextWriting()
    progress_id: UUID | None = None
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
