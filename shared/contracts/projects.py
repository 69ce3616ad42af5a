"""Projects: the commands that catalog answers about them, and their shape on the API."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from shared.contracts.base import Body, Command, Moment, OptionalId, Page, Wire
from shared.contracts.notebooks import CatalogCommand, Name


class Project(Wire):
    """A project: the things in it have its id in their addresses."""

    project_id: UUID = Field(description="id of the project")
    tenant_id: UUID = Field(description="id of the tenant that it belongs to")
    project_name: str | None = Field(description="name of the project; null where none was given")
    date_created: Moment = Field(description="when it was made")
    created_by: str | None = Field(description="who made it; null for a project older than the list of projects")


class ProjectPage(Page):
    """The answer of `GET projects`."""

    items: list[Project] = Field(description="the projects of this page, newest first")


class ProjectDraft(Body):
    """The body of `POST projects`."""

    project_id: OptionalId = Field(None, description="id of the new project; a new one without")
    project_name: Name | None = Field(None, description="name of the project, 1 to 200 characters")


class FindProject(CatalogCommand, Command[Project]):
    """The project that the scope names; not found when there is none."""


class ListProjects(CatalogCommand, Command[ProjectPage]):
    """A page of the tenant's projects, newest first; with `only`, at most that one."""

    only: UUID | None = None
    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class CreateProject(CatalogCommand, Command[Project]):
    """Make the project that the scope names. A conflict when there is one, unless `may_exist`."""

    write = True
    project_name: str | None = None
    may_exist: bool = False
