"""What a run leaves behind: the manifest that the worker seals, and the results object of the API."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Command, Event, Moment, Nothing, Wire
from shared.contracts.datasets import ArtifactsCommand
from shared.contracts.executions import ExecutionStatus

ArtifactKind = Literal["output", "enriched_dataset", "model", "report", "notebook", "value", "file"]
OutputTypeFilter = Literal["all", "data", "plots", "models", "reports"]


class Packed(Wire):
    """A place in an object that holds several artifacts of one epoch; the bytes are the artifact's `size_bytes`."""

    object_key: str
    offset: int = Field(ge=0, description="where the artifact's bytes begin in the object")


class ArtifactEntry(Wire):
    """One artifact of a run. Its bytes are an object of the store (`object_key`), part of one (`pack`) or, when small,
    `inline`."""

    artifact_id: UUID
    kind: ArtifactKind
    position: int = Field(description="order within the run")
    name: str
    file_name: str
    content_type: str
    size_bytes: int
    sha256: str
    crc32: int | None = Field(None, ge=0, lt=2**32, description="of the bytes; null where it was not taken")
    object_key: str | None = None
    pack: Packed | None = None
    inline: str | None = Field(None, description="the bytes, base64")
    public_url: str | None = Field(None, description="where a client gets them straight from the object store")
    cell_id: str | None = None
    output_type: str | None = Field(None, description="MIME type for images and JSON, else nbformat's word")
    title: str | None = None
    width: int | None = None
    height: int | None = None
    content: Any = Field(None, description="what `detailed` shows inline; null for images and large outputs")
    content_truncated: bool = False
    details: dict[str, Any] = Field(default_factory=dict, description="members of the kind, such as `modelType`")


class SealManifest(ArtifactsCommand, Command[Nothing]):
    """Register a run's artifacts under (execution, epoch). `final` closes the manifest; before that, entries add up,
    one of a known id replaces what was registered under it, and `withdrawn` ones go. Nothing is published and no object
    is visible until executor's terminal commit names the epoch."""

    write = True
    execution_id: UUID
    notebook_id: UUID
    epoch: int
    final: bool
    kept: bool = Field(False, description="of an attempt that another follows: it stays readable beside the run's end")
    entries: list[ArtifactEntry]
    withdrawn: list[UUID] = Field(default_factory=list, description="registered while the run went on, and no more")


class ArtifactList(Wire):
    """Artifacts of a run in order."""

    artifacts: list[ArtifactEntry]
    more: bool = Field(False, description="there are more after the last of these")


class ListedAfter(Wire):
    """The artifact that a page begins after."""

    position: int
    artifact_id: UUID


class ListArtifacts(ArtifactsCommand, Command[ArtifactList]):
    """The artifacts registered under (execution, epoch), filtered; `with_content` false leaves `content` out. With
    `limit`, a page: at most so many entries after `after`, and fewer when their contents are large."""

    execution_id: UUID
    epoch: int
    output_type: OutputTypeFilter = "all"
    cell_id: str | None = None
    kind: ArtifactKind | None = None
    kinds: list[ArtifactKind] | None = None
    with_content: bool = True
    with_links: bool = False
    after: ListedAfter | None = None
    limit: int | None = None


class GetArtifact(ArtifactsCommand, Command[ArtifactEntry]):
    """One artifact's entry, without its bytes."""

    execution_id: UUID
    epoch: int
    artifact_id: UUID


class Dimensions(Wire):
    """Size of an image in pixels."""

    width: int
    height: int


class Output(Wire):
    """One output of a cell."""

    artifact_id: UUID
    cell_id: str | None
    output_type: str
    content_type: str
    title: str | None
    content: Any
    content_truncated: bool
    dimensions: Dimensions | None
    size_bytes: int
    sha256: str
    download_url: str


class ColumnChange(Wire):
    """A column of the bound dataset that an enriched one changed: `values`, or how its type did."""

    name: str
    change: str
    values_changed: int | None = Field(None, description="how many, where values were compared")


class EnrichedDataset(Wire):
    """An enriched dataset of a run. With `enrichmentMode` it was held against the dataset that the run read; the
    members that say so are null where it was not."""

    name: str
    record_count: int
    columns: list[str]
    new_columns: list[str]
    records_before: int | None = Field(None, description="rows of the dataset that the run read")
    rows_lost: int | None = None
    rows_added: int | None = None
    lost_columns: list[str] | None = None
    changed_columns: list[ColumnChange] | None = None
    rows_aligned: bool | None = Field(None, description="the same cases in the same order, so values were compared")
    rows_changed: int | None = Field(None, description="rows with another value in a column of the dataset")
    values_changed: int | None = Field(None, description="values that are not those of the dataset")
    format: str
    size_bytes: int
    cell_id: str | None
    artifact_ids: dict[str, UUID] = Field(description="the artifact of each form")
    download_url: str
    download_urls: dict[str, str]


class Model(Wire):
    """A model that a run saved."""

    artifact_id: UUID
    name: str
    format: str = Field("pickle", description="`pickle`, `joblib`, `onnx` or `skops`")
    model_type: str | None
    framework: str | None
    accuracy: float | None
    metrics: dict[str, Any]
    features: list[str]
    size_bytes: int
    sha256: str
    cell_id: str | None
    download_url: str


class Report(Wire):
    """A report that a run saved."""

    artifact_id: UUID
    name: str
    format: str
    size_bytes: int
    sha256: str
    cell_id: str | None
    download_url: str


class ResultFile(Wire):
    """A file that the notebook left in its outputs folder."""

    artifact_id: UUID
    name: str = Field(description="with its folders")
    content_type: str
    size_bytes: int
    sha256: str
    download_url: str


class Results(Wire):
    """The results object."""

    execution_id: UUID
    notebook_id: UUID
    status: ExecutionStatus
    outputs: list[Output]
    enriched_datasets: list[EnrichedDataset]
    models: list[Model]
    reports: list[Report]
    files: list[ResultFile]


class LargeValue(Wire):
    """A saved value that is too large for the answer."""

    size_bytes: int
    download_url: str


class NotebookValue(Wire):
    """What a completed run saved under names, and what it ran with."""

    execution_id: UUID
    notebook_id: UUID
    notebook_version: str
    date_ended: Moment
    values: dict[str, Any] = Field(description="by the names under which they were saved; of one name the last counts")
    large_values: dict[str, LargeValue] = Field(description="those that are too large for this answer")
    parameters: dict[str, Any] = Field(description="what the run was given, defaults included")


class ArtifactsPurged(Event):
    """Everything stored of a run or a notebook has been removed from the object store."""

    type = "artifacts.purged"
    notebook_id: UUID
    execution_id: UUID | None = None
    object_count: int

    def subject(self) -> str:
        """`notebook/<id>`."""
        return f"notebook/{self.notebook_id}"

    def path(self) -> list[UUID]:
        """The notebook's id, and the execution's if one was meant."""
        return [self.notebook_id] + ([self.execution_id] if self.execution_id else [])
