"""Notebooks: the commands that catalog answers, and the shapes of a notebook on the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from shared import file_paths
from shared.contracts.base import Body, Command, Event, Moment, Nothing, OptionalId, Page, Wire, rfc3339
from shared.contracts.retries import Retry

KernelType = Literal["python3", "r", "scala"]
NotebookStatus = Literal["Ready", "Running", "Error", "Kernel_Dead"]
OutputFormat = Literal["enriched_dataframe", "csv", "parquet", "none"]
CellType = Literal["code", "markdown", "raw"]


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    return text


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_no_nul)]
Text = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_no_nul)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_no_nul)]


class Integration(Body):
    """How a notebook is tied to data: the dataset it enriches, the form of the result, when it runs by itself."""

    enrichment_mode: bool = Field(False, description="The notebook enriches its bound dataset.")
    dataset_binding: OptionalId = Field(None, description="Id of the dataset that runs read.")
    output_format: OutputFormat = "enriched_dataframe"
    auto_execution: bool = Field(False, description="Run whenever the bound dataset gets new data.")
    run_after: list[UUID] = Field(
        default_factory=list, max_length=20, description="Run when all of these notebooks have completed."
    )
    error_policy: Literal["stop", "continue"] | None = None
    retry: Retry | None = Field(None, description="When a failed run is begun anew; `retry` of a request wins.")
    schedule_execution: str | None = Field(None, description="Five-field cron line.", examples=["0 2 * * *"])
    schedule_time_zone: str | None = Field(None, description="Zone of the tz database; default UTC.")
    schedule_overlap: Literal["skip", "queue", "replace"] | None = Field(
        None, description="What a time does that comes while the notebook runs; default skip."
    )
    schedule_misfire: Literal["fire_once", "skip"] | None = Field(
        None, description="What becomes of times that passed while nothing could run; default fire_once."
    )
    schedule_jitter: int | None = Field(
        None, ge=0, le=3600, description="Seconds over which starts are spread; each time has its own delay."
    )
    schedule_parameters: dict[str, JsonValue] | None = Field(None, description="Parameters of all automatic runs.")


class Environment(Body):
    """What a notebook needs installed."""

    python_version: Word | None = None
    packages: list[Word] = Field(default_factory=list, max_length=200)
    custom_libraries: list[Word] = Field(default_factory=list, max_length=200)


class CellDraft(Body):
    """A cell as a client writes it."""

    cell_id: str | None = Field(None, description="Keeps the cell's identity across versions.", max_length=64)
    cell_type: CellType
    content: str = ""
    tags: list[str] | None = None
    metadata: dict[str, JsonValue] | None = None


class NotebookDraft(Body):
    """The body of `POST notebook`."""

    notebook_name: Name
    notebook_description: Text | None = None
    kernel_type: KernelType = "python3"
    template: str | None = None
    integration: Integration | None = None
    environment: Environment | None = None
    initial_cells: list[CellDraft] | None = Field(None, max_length=10_000)


class Cell(Wire):
    """A cell on the API. Members without a value are null."""

    cell_id: str
    cell_type: CellType
    content: str
    tags: list[str]
    metadata: dict[str, Any]
    execution_count: int | None = None
    has_output: bool = False
    last_executed: Moment | None = None
    execution_status: str | None = None
    last_modified: Moment | None = None


class Session(Wire):
    """What `POST notebook` says about the kernel: none runs yet, one starts per execution."""

    session_id: UUID
    kernel_type: KernelType
    state: Literal["NotStarted"] = "NotStarted"


class Parsing(Wire):
    """What `POST notebook/upload` made of the file."""

    nbformat: str
    cell_count: int
    code_cells: int
    markdown_cells: int
    raw_cells: int
    warnings: list[str]


class Notebook(Wire):
    """The notebook object."""

    notebook_id: UUID
    project_id: UUID
    notebook_name: str
    notebook_description: str | None
    notebook_version: str
    kernel_type: KernelType
    status: NotebookStatus
    integration: Integration
    cells: list[Cell]
    environment: Environment
    parameters: dict[str, Any] = Field(description="JSON Schema of the parameters.")
    date_created: Moment
    date_modified: Moment
    created_by: str
    last_execution_date: Moment | None
    execution_count: int
    etag: str
    session: Session | None = None
    parsing: Parsing | None = None


class NotebookSummary(Wire):
    """One line of a notebook list."""

    notebook_id: UUID
    notebook_name: str
    kernel_type: KernelType
    status: NotebookStatus
    enrichment_mode: bool
    cell_count: int
    last_execution_date: Moment | None
    date_created: Moment
    date_modified: Moment


class NotebookPage(Page):
    """The answer of `GET notebooks`."""

    notebooks: list[NotebookSummary]


FilePath = Annotated[str, AfterValidator(file_paths.checked)]
"""A path that may be kept, in the form in which it is kept."""

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class FileReference(Wire):
    """A file beside a notebook, by its content."""

    path: FilePath
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class Precondition(Wire):
    """What the caller believes the state of a notebook or dataset to be; stale beliefs are conflicts."""

    etag: str | None = Field(None, description="an entity tag, or several with commas between; `*` is every state")
    date_modified: Moment | None = None

    def holds(self, *, etag: str, modified_at: datetime) -> bool:
        """Whether this is the present state (RFC 9110 section 13.1.1)."""
        if self.etag is not None:
            tags = [tag.strip().strip('"') for tag in self.etag.split(",")]
            if "*" not in tags and etag not in tags:
                return False
        return self.date_modified is None or rfc3339(self.date_modified) == rfc3339(modified_at)


class CatalogCommand:
    """Marks where a command goes."""

    service: ClassVar[str] = "catalog"


class CreateNotebook(CatalogCommand, Command[Notebook]):
    """Make a notebook at version 1.0.0."""

    write = True
    draft: NotebookDraft
    change_message: str | None = None


class CheckDraft(CatalogCommand, Command[Nothing]):
    """Everything that CreateNotebook checks, and nothing kept."""

    draft: NotebookDraft


class NotebookFile(Wire):
    """An uploaded .ipynb or .py file (text of `file`, already UTF-8), and what is said about it."""

    file_name: str
    file: str
    notebook_name: Name | None = None
    notebook_description: Text | None = None
    kernel_type: KernelType | None = None
    integration: Integration


class ImportNotebook(NotebookFile, CatalogCommand, Command[Notebook]):
    """Make a notebook from an uploaded file. Artifacts has the bytes of the `files`, under the `notebook_id`."""

    write = True
    notebook_id: UUID | None = None
    files: list[FileReference] = Field(default_factory=list)
    change_message: str | None = None


class CheckImport(NotebookFile, CatalogCommand, Command[Nothing]):
    """Everything that ImportNotebook checks, and nothing kept."""


class UpdateNotebook(CatalogCommand, Command[Notebook]):
    """RFC 7396 merge of `patch`, the decoded body of `PUT notebook/{id}`."""

    write = True
    notebook_id: UUID
    patch: dict[str, Any]
    precondition: Precondition = Precondition()
    change_message: str | None = None
    shown_python: str | None = Field(
        None,
        description="pythonVersion as shown where none is asked for; sent back, it still asks for none",
    )


class CheckUpdate(CatalogCommand, Command[Nothing]):
    """Everything that UpdateNotebook checks but the precondition, and nothing changed."""

    notebook_id: UUID
    patch: dict[str, Any]


class AddCell(CatalogCommand, Command[Notebook]):
    """Append one cell (the vendor client's `POST blocks`)."""

    write = True
    notebook_id: UUID
    cell: CellDraft
    change_message: str | None = None


class UpdateCell(CatalogCommand, Command[Notebook]):
    """Merge `patch` (members of a cell) into one cell."""

    write = True
    notebook_id: UUID
    cell_id: str
    patch: dict[str, Any]
    precondition: Precondition = Precondition()
    change_message: str | None = None


class DeleteCell(CatalogCommand, Command[Notebook]):
    """Take one cell out."""

    write = True
    notebook_id: UUID
    cell_id: str
    precondition: Precondition = Precondition()
    change_message: str | None = None


class ReserveDeletion(CatalogCommand, Command[Nothing]):
    """Keep a notebook as it is while it is being deleted: a conflict unless the precondition holds, and from then on
    for every change. `release` gives a deletion up that does not go on."""

    write = True
    notebook_id: UUID
    precondition: Precondition = Precondition()
    release: bool = False


class DeleteNotebook(CatalogCommand, Command[Nothing]):
    """Hide the notebook for ever and set its purge going; executor has blocked new runs before."""

    write = True
    notebook_id: UUID
    precondition: Precondition = Precondition()


class NotebookState(Wire):
    """Which state a notebook is in; null from a catalog that is older than this answer."""

    etag: str | None = None
    date_modified: Moment | None = None


class CheckNotebook(CatalogCommand, Command[NotebookState]):
    """Answer with the state if the notebook exists and the precondition holds; else not found or conflict."""

    notebook_id: UUID
    precondition: Precondition = Precondition()


class CheckDatasetUnbound(CatalogCommand, Command[Nothing]):
    """Answer if no notebook of the project is bound to the dataset; else a conflict that names some."""

    dataset_id: UUID


class GetNotebook(CatalogCommand, Command[Notebook]):
    """The notebook object, its run members from catalog's projection."""

    notebook_id: UUID


class ListNotebooks(CatalogCommand, Command[NotebookPage]):
    """A page of the project's notebooks."""

    status: NotebookStatus | None = None
    kernel_type: KernelType | None = None
    enrichment_mode: bool | None = None
    search: str | None = None
    sort: str = "-dateCreated"
    page: int = 1
    page_size: int = 20
    cursor: str | None = None


ExportFormat = Literal["ipynb", "script", "markdown", "rmarkdown"]
"""A notebook's forms as a file: with its outputs, or as text that Jupytext reads."""


class IpynbFile(Wire):
    """A notebook as a file: an nbformat 4.5 document, or a text."""

    file_name: str
    content: dict[str, Any] = Field(default_factory=dict)
    text: str | None = Field(None, description="instead of `content`, for other formats than ipynb")


class ExportNotebook(CatalogCommand, Command[IpynbFile]):
    """The notebook's present (or given) version as a file."""

    notebook_id: UUID
    version: str | None = None
    format: ExportFormat = "ipynb"


class PinnedNotebook(Wire):
    """Everything a run needs of one immutable version."""

    notebook_id: UUID
    notebook_name: str
    version: str
    kernel_type: KernelType
    integration: Integration
    environment: Environment
    parameters: dict[str, Any]
    content: dict[str, Any] = Field(description="nbformat 4.5 document; every cell has its id.")
    files: list[FileReference] = Field(default_factory=list, description="Files beside the notebook.")


class PinNotebook(CatalogCommand, Command[PinnedNotebook]):
    """Resolve the version to run (the present one unless `version` is given)."""

    notebook_id: UUID
    version: str | None = None


class NotebookEvent(Event):
    """What all notebook facts carry."""

    notebook_id: UUID
    notebook_name: str
    notebook_version: str
    changed_by: str

    def subject(self) -> str:
        """`notebook/<id>`."""
        return f"notebook/{self.notebook_id}"

    def path(self) -> list[UUID]:
        """The notebook's id."""
        return [self.notebook_id]


class NotebookCreated(NotebookEvent):
    """A notebook was created, uploaded or copied."""

    type = "notebook.created"


class NotebookUpdated(NotebookEvent):
    """A notebook got a new version."""

    type = "notebook.updated"


class NotebookDeleted(NotebookEvent):
    """A notebook is gone; every service purges what it holds of it."""

    type = "notebook.deleted"
