"""Bodies and query strings that only the gateway knows: merge patches, preconditions, filters and pages."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StringConstraints
from pydantic_core import PydanticCustomError

from shared.contracts.base import Body, Moment, OptionalId
from shared.contracts.executions import ExecutionStatus
from shared.contracts.notebooks import (
    CellType,
    ExportFormat,
    KernelType,
    Name,
    NotebookStatus,
    OutputFormat,
    Text,
    Word,
)
from shared.contracts.results import OutputTypeFilter
from shared.contracts.retries import Retry
from shared.contracts.schedules import FireState
from shared.reports.rendering import Profile

MAX_PAGE = 1_000_000
"""The highest page number; whoever wants to go further uses the cursor."""

MAX_PAGE_SIZE = 100
"""Items on a page at most (SPEC.md: Notebooks)."""

MAX_WAIT_S = 20
"""The longest `wait` of a status read, in seconds (SPEC.md: Executions)."""


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    return text


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


def _in_digits(value: Any) -> Any:
    """A number of a query as it is; raises for a text that is one only with good will (`1.0`, `1_000`, ` 1`)."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise PydanticCustomError("int_parsing", "must be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_in_digits)]
"""A number in a query or form."""

Attempt = Annotated[WholeNumber | None, Field(None, ge=1, le=MAX_PAGE, description="default: the newest that has any")]
"""Number of an attempt of an execution."""

QueryText = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_no_nul)]
OptionalText = Annotated[QueryText | None, BeforeValidator(_empty_is_none)]
Sort = Literal[
    "dateCreated",
    "-dateCreated",
    "dateModified",
    "-dateModified",
    "notebookName",
    "-notebookName",
    "lastExecutionDate",
    "-lastExecutionDate",
]


class NoMembers(Body):
    """A body or a query without any member."""


class PageQuery(Body):
    """Which page of a list."""

    page: WholeNumber = Field(1, ge=1, le=MAX_PAGE)
    page_size: WholeNumber = Field(20, ge=1, le=MAX_PAGE_SIZE)
    cursor: OptionalText = Field(None, description="`nextCursor` of the page before; neither skips nor repeats")


class NotebooksQuery(PageQuery):
    """Which notebooks, in which order."""

    status: NotebookStatus | None = None
    kernel_type: KernelType | None = None
    enrichment_mode: bool | None = None
    search: OptionalText = Field(None, description="part of the name")
    sort: Sort = "-dateCreated"


class VersionQuery(Body):
    """Which version."""

    version: OptionalText = Field(None, description="default: the present one")


class ExportQuery(VersionQuery):
    """Which version, in which form."""

    format: ExportFormat | Literal["zip"] = Field(
        "ipynb",
        description="`zip` holds the .ipynb and the files beside it; `script` is in the notebook's language with "
        "`# %%` cells; text formats have no outputs",
    )


class VersionExportQuery(Body):
    """In which form to export a version."""

    format: ExportFormat = "ipynb"


class DiffQuery(Body):
    """In which form to show a difference."""

    format: Literal["json", "html"] = "json"


class ExecutionsQuery(PageQuery):
    """Which executions."""

    status: ExecutionStatus | None = None


class FiresQuery(PageQuery):
    """Which fires of a notebook."""

    state: FireState | None = None


class StatusQuery(Body):
    """How long to wait for the next change."""

    wait: WholeNumber = Field(0, ge=0, le=MAX_WAIT_S, description="seconds to wait for the next change")


class ValueQuery(Body):
    """How long to wait for the end of a run."""

    wait: WholeNumber = Field(MAX_WAIT_S, ge=0, le=MAX_WAIT_S, description="seconds to wait for its end")


class ResultsQuery(Body):
    """Which results, in which form."""

    output_type: OutputTypeFilter = "all"
    format: Literal["detailed", "summary", "download"] = "detailed"
    cell_id: OptionalText = None
    attempt: Attempt = None


class AttemptQuery(Body):
    """Which attempt of an execution."""

    attempt: Attempt = None


class ReportQuery(Body):
    """Which report, in which form."""

    profile: Profile = Field("full", description="`no-code` leaves the code out; the cells' tags are always honoured")
    format: Literal["html", "pdf"] = "html"
    disposition: Literal["inline", "attachment"] = Field("inline", description="to be shown, or to be saved")


class LineageQuery(PageQuery):
    """Which version of a dataset, and which page of the executions that read it."""

    version: WholeNumber | None = Field(None, ge=1, le=MAX_PAGE)


class EventsQuery(Body):
    """Where to resume the events."""

    last_event_id: OptionalText = Field(None, description="same as the header Last-Event-ID, which wins")


class PutFilesQuery(Body):
    """What becomes of the files that are there already."""

    replace: bool = Field(False, description="remove all files that the request does not have")


class DeleteQuery(Body):
    """Whether to delete although something stands against it."""

    force: bool = False


class RemoveExecutionQuery(Body):
    """Whether to remove an ended run instead of cancelling a running one."""

    purge: bool = False


class Expected(Body):
    """The state that the caller believes to be the present one; stale beliefs are conflicts."""

    etag: str | None = None
    date_modified: Moment | None = None


class IntegrationPatch(Body):
    """Merged into `integration`, member by member; null takes a member back to its default."""

    enrichment_mode: bool | None = None
    dataset_binding: OptionalId = None
    output_format: OutputFormat | None = None
    auto_execution: bool | None = None
    run_after: list[UUID] | None = Field(None, max_length=20)
    error_policy: Literal["stop", "continue"] | None = None
    retry: Retry | None = None
    schedule_execution: str | None = None
    schedule_time_zone: str | None = None
    schedule_overlap: Literal["skip", "queue", "replace"] | None = None
    schedule_misfire: Literal["fire_once", "skip"] | None = None
    schedule_jitter: int | None = Field(None, ge=0, le=3600)
    schedule_parameters: dict[str, JsonValue] | None = None


class EnvironmentPatch(Body):
    """Merged into `environment`, member by member."""

    python_version: Word | None = None
    packages: list[Word] | None = Field(None, max_length=200)
    custom_libraries: list[Word] | None = Field(None, max_length=200)


ReadOnly = Annotated[Any, Field(None, description="accepted and ignored, so that GET, edit, PUT works")]


class CellPatch(Expected):
    """Members of one cell to change."""

    cell_id: str | None = Field(None, max_length=64)
    cell_type: CellType | None = None
    content: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, JsonValue] | None = None
    execution_count: ReadOnly
    has_output: ReadOnly
    last_executed: ReadOnly
    execution_status: ReadOnly
    last_modified: ReadOnly


class CellReplacement(Body):
    """A cell in the array that replaces all cells of a notebook."""

    cell_id: str | None = Field(None, max_length=64)
    cell_type: CellType
    content: str | None = None
    tags: list[str] | None = None
    metadata: dict[str, JsonValue] | None = None
    execution_count: ReadOnly
    has_output: ReadOnly
    last_executed: ReadOnly
    execution_status: ReadOnly
    last_modified: ReadOnly


class NotebookPatch(Expected):
    """A merge patch (RFC 7396): absent members stay, `integration` and `environment` merge, arrays replace."""

    notebook_name: Name | None = None
    notebook_description: Text | None = None
    kernel_type: KernelType | None = None
    integration: IntegrationPatch | None = None
    environment: EnvironmentPatch | None = None
    cells: list[CellReplacement] | None = Field(None, max_length=10_000)
    notebook_id: ReadOnly
    project_id: ReadOnly
    notebook_version: ReadOnly
    status: ReadOnly
    parameters: ReadOnly
    date_created: ReadOnly
    created_by: ReadOnly
    last_execution_date: ReadOnly
    execution_count: ReadOnly
    session: ReadOnly
    parsing: ReadOnly


class NotebookUpload(Body):
    """The fields beside the file of `POST notebook/upload`."""

    notebook_name: Name | None = None
    notebook_description: Text | None = None
    enrichment_mode: bool = False
    dataset_binding: OptionalId = None
    kernel_type: KernelType | None = None
