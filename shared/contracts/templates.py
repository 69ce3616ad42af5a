"""Templates: the commands that catalog answers about notebooks to begin with, and their shape on the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from shared.contracts.base import Body, Command, Moment, Nothing, Page, Wire
from shared.contracts.notebooks import CatalogCommand, Cell, Environment, KernelType, Text

TemplateName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]
"""Lower case, because it stands in addresses and is compared as it is."""


class TemplateSummary(Wire):
    """One line of the list of templates."""

    template_name: str = Field(description="What `template` of `POST notebook` calls it.")
    description: str
    origin: Literal["built_in", "project"]
    kernel_type: KernelType
    cell_count: int
    parameters: dict[str, Any] = Field(description="JSON Schema of the parameters.")
    date_created: Moment | None = Field(description="null for a built-in template")
    created_by: str | None


class Template(TemplateSummary):
    """A template with its content."""

    cells: list[Cell]
    environment: Environment


class TemplatePage(Page):
    """The answer of `GET templates`."""

    items: list[TemplateSummary]


class TemplateDraft(Body):
    """The body of `POST templates`: a notebook of the project that becomes a template of it."""

    template_name: TemplateName = Field(description="lower-case letters, digits, - and _; up to 100 characters")
    notebook_id: UUID
    version: str | None = Field(None, max_length=50, description="a version of the notebook; the present one without")
    description: Text | None = Field(None, description="the notebook's own description without")


class AddTemplate(CatalogCommand, Command[Template]):
    """Keep a copy of a notebook's version as a template of the project."""

    write = True
    draft: TemplateDraft


class ListTemplates(CatalogCommand, Command[TemplatePage]):
    """The templates that come with the product, then the project's own, by name."""

    page: int = 1
    page_size: int = 20
    cursor: str | None = None


class GetTemplate(CatalogCommand, Command[Template]):
    """A template by name."""

    template_name: str


class RemoveTemplate(CatalogCommand, Command[Nothing]):
    """Remove a template of the project; notebooks made from it stay."""

    write = True
    template_name: str
