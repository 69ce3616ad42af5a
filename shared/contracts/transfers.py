"""Bulk between gateway and artifacts: which internal HTTP addresses exist and what the tickets for them claim.

Every request carries `Authorization: Ticket <ticket>`, signed with the internal secret (`shared.tickets`) for the
purpose named here; the claims are the model's members by alias. Faults come back as `shared.replies.Reply` JSON.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from shared.contracts.base import Caller, Idempotency, Scope, Wire
from shared.contracts.datasets import AdoptedArtifact, TextWriting
from shared.contracts.notebooks import FileReference, Precondition
from shared.contracts.results import OutputTypeFilter
from shared.reports.rendering import Profile

TICKET_LIFE_S = 300.0
"""How long a ticket may be presented, in seconds; a transfer that has begun may take longer."""

DATASET_UPLOAD = "dataset-upload"
"""`PUT /internal/datasets/{datasetId}`: the raw file as body, answered 200 with a Reply that carries a Dataset."""

DATASET_DOWNLOAD = "dataset-download"
"""`GET /internal/datasets/{datasetId}/data`: the bytes, streamed."""

ARTIFACT_DOWNLOAD = "artifact-download"
"""`GET /internal/artifacts/{artifactId}`: the bytes; `Range`, `If-Range` and `If-None-Match` are honoured."""

ARCHIVE_DOWNLOAD = "archive-download"
"""`GET /internal/executions/{executionId}/archive`: one zip of the run's artifacts, streamed."""


FILE_UPLOAD = "file-upload"
"""`PUT /internal/files/{sha256}`: the bytes as body, refused unless that is their hash; answered 200 with a Reply."""

FILE_DOWNLOAD = "file-download"
"""`GET /internal/files/{sha256}`: the bytes; `Range`, `If-Range` and `If-None-Match` are honoured."""

FILE_ARCHIVE = "file-archive"
"""`POST /internal/file-archives/{notebookId}`: a FileArchiveBody in, one zip out, streamed."""

REPORT_DOWNLOAD = "report-download"
"""`GET /internal/executions/{executionId}/report`: the executed notebook, rendered; `If-None-Match` is honoured."""


class DatasetUpload(Wire):
    """Claims of DATASET_UPLOAD. `upload_id` is the write's command id."""

    upload_id: UUID
    scope: Scope
    caller: Caller
    idempotency: Idempotency | None = None
    dataset_id: UUID
    dataset_name: str
    file_name: str
    purpose: Literal["create", "replace"]
    case_id_column: str | None = None
    activity_column: str | None = None
    time_column: str | None = None
    precondition: Precondition = Precondition()
    writing: TextWriting = TextWriting()
    progress_id: UUID | None = None  # under which the sender asks how far it is
    artifact: AdoptedArtifact | None = None


class DatasetDownload(Wire):
    """Claims of DATASET_DOWNLOAD."""

    scope: Scope
    dataset_id: UUID
    format: Literal["csv", "parquet"]
    version: int | None = None  # the present one


class ArtifactDownload(Wire):
    """Claims of ARTIFACT_DOWNLOAD."""

    scope: Scope
    execution_id: UUID
    epoch: int
    artifact_id: UUID


class FileUpload(Wire):
    """Claims of FILE_UPLOAD: the notebook that is to need the content."""

    scope: Scope
    notebook_id: UUID


class FileDownload(Wire):
    """Claims of FILE_DOWNLOAD: a content that the notebook needs, and how it is called."""

    scope: Scope
    notebook_id: UUID
    sha256: str
    file_name: str
    media_type: str


class FileArchive(Wire):
    """Claims of FILE_ARCHIVE."""

    scope: Scope
    notebook_id: UUID


class FileArchiveBody(Wire):
    """The body of FILE_ARCHIVE: the notebook itself, and the files beside it in one of its versions."""

    notebook_path: str
    notebook: str
    files: list[FileReference]


class ArchiveDownload(Wire):
    """Claims of ARCHIVE_DOWNLOAD."""

    scope: Scope
    execution_id: UUID
    epoch: int
    output_type: OutputTypeFilter = "all"
    cell_id: str | None = None


class ReportDownload(Wire):
    """Claims of REPORT_DOWNLOAD: which run, in which form, and what stands above it."""

    scope: Scope
    execution_id: UUID
    epoch: int
    profile: Profile
    format: Literal["html", "pdf"]
    title: str
    lines: list[str]
