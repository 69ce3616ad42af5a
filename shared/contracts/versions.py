"""The history of a notebook: its immutable versions, the differences between two, and what is made from one."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field, RootModel

from shared.contracts.base import Body, Command, Moment, Page, Wire
from shared.contracts.notebooks import (
    CatalogCommand,
    CellType,
    Environment,
    FileReference,
    Integration,
    KernelType,
    Name,
    Notebook,
    Precondition,
)

CellChange = Literal["added", "removed", "changed", "moved"]
FileChange = Literal["added", "removed", "changed"]
CellPart = Literal["cellType", "source", "metadata", "attachments", "outputs"]


class VersionSummary(Wire):
    """One line of a notebook's history."""

    version: str
    notebook_name: str
    kernel_type: KernelType
    content_sha256: str = Field(description="The address of its cells; equal addresses are equal contents.")
    date_created: Moment
    created_by: str
    change_message: str | None
    restored_from: str | None = Field(description="The version that a restore brought back.")


class VersionPage(Page):
    """The answer of `GET notebook/{id}/versions`, newest first."""

    versions: list[VersionSummary]


class VersionCell(Wire):
    """A cell as a version has it."""

    cell_id: str
    cell_type: CellType
    content: str
    tags: list[str]
    metadata: dict[str, Any]


class NotebookVersion(VersionSummary):
    """A whole version: everything a client defines of a notebook."""

    notebook_id: UUID
    notebook_description: str | None
    integration: Integration
    environment: Environment
    parameters: dict[str, Any] = Field(description="JSON Schema of the parameters.")
    cells: list[VersionCell]
    files: list[FileReference] = Field(default_factory=list, description="Files beside the notebook, by path.")


class CellDifference(Wire):
    """What became of one cell. `indexA` is null for one that was added, `indexB` for one that was removed."""

    cell_id: str
    change: CellChange
    cell_type: CellType
    index_a: int | None
    index_b: int | None
    parts: list[CellPart] = Field(description="What changed; empty unless `change` is `changed`, or a move changed it.")
    lines: list[str] | None = Field(
        description="The source line by line: each begins with a space, `-` or `+`, and ends with its line end unless "
        "that is a plain newline. `\\ no newline here` follows a last line without one where the other source ends "
        "with one. Null where the source is the same."
    )


class SettingDifference(Wire):
    """A member of the notebook object that differs, such as `integration.outputFormat`."""

    path: str
    a: Any
    b: Any


class FileContent(Wire):
    """What lies at a path in one of the two versions."""

    sha256: str
    size_bytes: int


class FileDifference(Wire):
    """A file beside the notebook that differs; `a` is null for one that was added, `b` for one that was removed."""

    path: str
    change: FileChange
    a: FileContent | None
    b: FileContent | None


class NotebookDiff(Wire):
    """How version `b` differs from version `a`."""

    notebook_id: UUID
    a: str
    b: str
    equal: bool
    settings: list[SettingDifference]
    cells: list[CellDifference]
    files: list[FileDifference] = Field(default_factory=list, description="Files beside the notebook that differ.")
    diff: list[dict[str, Any]] = Field(
        description="nbdime's diff: applied to the exported version a, it gives the exported version b."
    )


class HtmlPage(Wire):
    """A page that stands alone: no script, nothing fetched from anywhere."""

    html: str


class CopyRequest(Body):
    """The body of `POST notebook/{id}/copy`; every member is optional."""

    notebook_name: Name | None = Field(None, description="default: `Copy of` and the name")
    version: str | None = Field(None, description="the version to copy; default: the present one")


class ParameterSchema(RootModel[dict[str, Any]]):
    """JSON Schema of a notebook's parameters, with what a form needs: order, titles, formats."""


class ListVersions(CatalogCommand, Command[VersionPage]):
    """A page of a notebook's versions, newest first."""

    notebook_id: UUID
    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class GetVersion(CatalogCommand, Command[NotebookVersion]):
    """One version; not found when the notebook has none such."""

    notebook_id: UUID
    version: str


class DiffVersions(CatalogCommand, Command[NotebookDiff]):
    """How version `b` of a notebook differs from version `a`."""

    notebook_id: UUID
    a: str
    b: str


class ShowDiff(CatalogCommand, Command[HtmlPage]):
    """The same as a page to read."""

    notebook_id: UUID
    a: str
    b: str


class RestoreVersion(CatalogCommand, Command[Notebook]):
    """Make an earlier version the present one again, as a new version; none when nothing differs."""

    write = True
    notebook_id: UUID
    version: str
    precondition: Precondition = Precondition()
    change_message: str | None = None


class CopyNotebook(CatalogCommand, Command[Notebook]):
    """Make a new notebook from a version of another, at version 1.0.0."""

    write = True
    notebook_id: UUID
    request: CopyRequest
    change_message: str | None = None


class GetParameters(CatalogCommand, Command[ParameterSchema]):
    """The form-ready schema of a version's parameters (the present one unless `version` is given)."""

    notebook_id: UUID
    version: str | None = None
