"""Libraries that a project uploads: the commands that artifacts answers about them, and their shape on the API."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Command, Moment, Nothing, Page, Wire
from shared.contracts.datasets import ArtifactsCommand


class Library(Wire):
    """The library object."""

    library_name: str = Field(description="What `environment.customLibraries` calls it.")
    kind: Literal["wheel", "module"]
    version: str | None = Field(description="A wheel's version.")
    file_name: str
    size_bytes: int
    sha256: str
    date_created: Moment
    created_by: str


class LibraryPage(Page):
    """The answer of `GET libraries`."""

    items: list[Library]


class StoreLibrary(ArtifactsCommand, Command[Library]):
    """Keep a wheel or a module for the project, in place of one of the same name. Its bytes wait as a large message
    body does (`shared.payloads`) under the reference; who sent them drops them after the reply."""

    write = True
    file_name: str
    reference: UUID


class ListLibraries(ArtifactsCommand, Command[LibraryPage]):
    """A page of the project's libraries, by name."""

    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class DeleteLibrary(ArtifactsCommand, Command[Nothing]):
    """Remove a library; runs that have it go on."""

    write = True
    library_name: str


class PinnedLibrary(Wire):
    """One library as it is now, for a run: what it needs (requirements of a wheel) and where its file is."""

    library: Library
    requires: list[str]
    object_key: str


class PinnedLibraries(Wire):
    """Those of the project's libraries that were asked for and are there."""

    libraries: list[PinnedLibrary]


class PinLibraries(ArtifactsCommand, Command[PinnedLibraries]):
    """Find libraries of the project by name."""

    library_names: list[str]
