"""Templates on the API: those that come with the catalog, and those that a project has made from its notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from services.catalog import parameters, store
from services.catalog.document import Document
from services.catalog.model import is_version
from services.catalog.shelf import Template
from shared import cursors
from shared.contracts import templates as shapes
from shared.contracts.base import Nothing, Scope
from shared.contracts.notebooks import Environment
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.catalog.app import Catalog

MAX_TEMPLATES = 500
"""Templates of a project: more are not found again by anybody, and a list is read as a whole."""

_REMARK = " Percent format:"
"""Begins the sentence of a script's heading that is about the file, not about the template."""


async def choose(app: Catalog, scope: Scope, name: str) -> Template:
    """The template of that name; raises Invalid with the names there are."""
    if name in app.templates:
        return app.templates[name]
    async with app.database.connection() as connection:
        row = await connection.fetchrow(store.queries.template, scope.tenant_id, scope.project_id, name)
        if row is None:
            own = await connection.fetch(store.queries.template_list, scope.tenant_id, scope.project_id)
            existing = ", ".join([*app.templates, *(one["name"] for one in own[:20])])
            message = f"there is no template {name[:100]!r}; there are: {existing}"
            raise Invalid(f"The notebook: {message}.", faults=[Fault(path="template", message=message)])
    return Template(
        name=row["name"],
        description=row["description"],
        document=Document.stored(row["body"], None),
        kernel_type=row["kernel_type"],
        environment=Environment.model_validate_json(row["environment"]),
    )


async def list_templates(app: Catalog, command: shapes.ListTemplates, _context: Context) -> shapes.TemplatePage:
    """A page of all that the project can begin with."""
    scope = command.scope
    async with app.database.connection() as connection:
        rows = await connection.fetch(store.queries.template_list, scope.tenant_id, scope.project_id)
    items = [((False, name), _built_in(template)) for name, template in app.templates.items()]
    items += [((True, row["name"]), _own(row)) for row in rows]
    begin = (command.page - 1) * command.page_size
    if command.cursor is not None:
        after = cursors.place(command.cursor, bool, str)
        begin = sum(key <= after for key, _ in items)
    shown = items[begin : begin + command.page_size]
    more = begin + command.page_size < len(items)
    return shapes.TemplatePage(
        items=[shapes.TemplateSummary(**members) for _, members in shown],
        total_count=len(items),
        page=command.page,
        page_size=command.page_size,
        has_next_page=more,
        next_cursor=cursors.cursor(*shown[-1][0]) if more else None,
    )


async def get_template(app: Catalog, command: shapes.GetTemplate, _context: Context) -> shapes.Template:
    """A template with its cells."""
    scope, built_in = command.scope, app.templates.get(command.template_name)
    if built_in is not None:
        return _whole(_built_in(built_in), built_in.document, built_in.environment)
    async with app.database.connection() as connection:
        row = await connection.fetchrow(
            store.queries.template, scope.tenant_id, scope.project_id, command.template_name
        )
    if row is None:
        raise NotFound("There is no such template.")
    environment = Environment.model_validate_json(row["environment"])
    return _whole(_own(row), Document.stored(row["body"], None), environment)


async def add_template(app: Catalog, command: shapes.AddTemplate, context: Context) -> shapes.Template:
    """Keep a version of a notebook as a template. Raises Conflict for a name that is taken."""
    draft, scope = command.draft, command.scope
    async with context.transaction() as transaction:
        if draft.template_name in app.templates:
            raise Conflict(f"{draft.template_name} is a template that comes with the product; choose another name.")
        if draft.version is not None and not is_version(draft.version):
            raise _no_version()
        row = await transaction.sql.row(
            store.queries.version, draft.notebook_id, scope.tenant_id, scope.project_id, draft.version
        )
        if row is None:
            await store.found(transaction.sql, store.queries.standing, scope, draft.notebook_id)
            raise _no_version()
        if (
            await transaction.sql.value(store.queries.count_templates, scope.tenant_id, scope.project_id)
            >= MAX_TEMPLATES
        ):
            raise Conflict(f"The project has {MAX_TEMPLATES} templates, which is the most; remove one first.")
        definition = store.definition(row)
        cell_count = await store.off_loop(row, lambda: len(definition.document.cells))
        kept = await transaction.sql.row(
            store.queries.insert_template,
            scope.tenant_id,
            scope.project_id,
            draft.template_name,
            draft.description if draft.description is not None else definition.description or "",
            definition.kernel_type,
            row["environment"],
            row["parameters"],
            cell_count,
            definition.document.body_bytes,
            command.caller.subject.replace("\x00", ""),
        )
        if kept is None:
            raise Conflict(f"The project has a template {draft.template_name} already; remove it first.")
        return transaction.reply(_whole(_own(kept), definition.document, definition.environment))


async def remove_template(app: Catalog, command: shapes.RemoveTemplate, context: Context) -> Nothing:
    """Remove a template of the project. Raises NotFound, and Conflict for one that comes with the product."""
    scope, name = command.scope, command.template_name
    async with context.transaction() as transaction:
        if name in app.templates:
            raise Conflict(f"{name} comes with the product and cannot be removed.")
        if await transaction.sql.row(store.queries.delete_template, scope.tenant_id, scope.project_id, name) is None:
            raise NotFound("There is no such template.")
        return transaction.reply(Nothing())


def _no_version() -> Invalid:
    message = "the notebook has no such version"
    return Invalid(f"The template: {message}.", faults=[Fault(path="version", message=message)])


def _built_in(template: Template) -> dict[str, Any]:
    return {
        "template_name": template.name,
        "description": template.description.partition(_REMARK)[0],
        "origin": "built_in",
        "kernel_type": template.kernel_type,
        "cell_count": len(template.document.cells),
        "parameters": parameters.schema_of(template.document, template.kernel_type),
        "date_created": None,
        "created_by": None,
    }


def _own(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "template_name": row["name"],
        "description": row["description"],
        "origin": "project",
        "kernel_type": row["kernel_type"],
        "cell_count": row["cell_count"],
        "parameters": orjson.loads(row["parameters"]),
        "date_created": row["created_at"],
        "created_by": row["created_by"],
    }


def _whole(summary: dict[str, Any], document: Document, environment: Environment) -> shapes.Template:
    cells = [store.cell_of(cell, None) for cell in document.cells]
    return shapes.Template(**summary, cells=cells, environment=environment)
