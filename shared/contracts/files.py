"""Files beside a notebook: the commands of catalog, which knows each version's files, and of artifacts, which keeps
their bytes."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from shared.contracts.base import Command, Moment, Nothing, Wire
from shared.contracts.datasets import ArtifactsCommand
from shared.contracts.notebooks import CatalogCommand, FileReference, Precondition, Sha256


class FileInfo(Wire):
    """A file beside a notebook."""

    path: str
    size_bytes: int
    sha256: str
    media_type: str = Field(description="By the file's name.")
    date_modified: Moment = Field(description="When the notebook got the file with this content.")


class NotebookFiles(Wire):
    """Files beside a notebook, with what all files of that version come to."""

    notebook_id: UUID
    notebook_version: str
    etag: str | None = Field(description="The notebook's; null for a version that is not the present one.")
    files: list[FileInfo]
    total_count: int
    total_bytes: int
    warnings: list[str] = Field(default_factory=list, description="What was left out of an archive.")


class ListFiles(CatalogCommand, Command[NotebookFiles]):
    """The files of a version (the present one unless `version` is given), by path."""

    notebook_id: UUID
    version: str | None = None


class FindFile(CatalogCommand, Command[FileInfo]):
    """One file of a version; not found when there is none."""

    notebook_id: UUID
    path: str
    version: str | None = None


class CheckFiles(CatalogCommand, Command[Nothing]):
    """Everything that PutFiles checks, and nothing changed."""

    notebook_id: UUID
    files: list[FileReference]
    replace: bool = False
    precondition: Precondition = Precondition()


class PutFiles(CatalogCommand, Command[NotebookFiles]):
    """Add files, in place of those with the same paths; with `replace` the others go. Artifacts has their bytes.

    Answers with the files that were put. The precondition's etag may be the notebook's or, for one file, the file's.
    """

    write = True
    notebook_id: UUID
    files: list[FileReference]
    replace: bool = False
    precondition: Precondition = Precondition()
    change_message: str | None = None


class DeleteFile(CatalogCommand, Command[NotebookFiles]):
    """Remove one file; answers without any."""

    write = True
    notebook_id: UUID
    path: str
    precondition: Precondition = Precondition()
    change_message: str | None = None


class UsedContents(Wire):
    """Those of the contents that a version of the notebook has."""

    sha256s: list[str]


class FindUsedContents(CatalogCommand, Command[UsedContents]):
    """Which of these contents any version of the notebook has; none when the notebook is gone or never was."""

    notebook_id: UUID
    sha256s: list[str]


class ContentSize(Wire):
    """A content by its hash, and its size."""

    sha256: Sha256
    size_bytes: int = Field(ge=0)


class FileUploadTicket(Wire):
    """Where and with which right to upload the contents that are not there yet (`{url}/{sha256}`)."""

    url: str
    ticket: str
    missing: list[str]


class OpenFileUpload(ArtifactsCommand, Command[FileUploadTicket]):
    """Reserve contents for a notebook: those that the project has are kept for it from now on, the others are missing.

    What no version of the notebook has a day later is given up. To reserve again changes nothing else, so this is no
    write that is kept in the command log.
    """

    notebook_id: UUID
    contents: list[ContentSize]


class StoredContent(Wire):
    """Where the bytes of a content are."""

    sha256: str
    size_bytes: int
    object_key: str


class StoredContents(Wire):
    """Those of the contents that were asked for and are there."""

    contents: list[StoredContent]


class LocateContents(ArtifactsCommand, Command[StoredContents]):
    """Where contents of a notebook's files are, for a run."""

    notebook_id: UUID
    sha256s: list[str]
