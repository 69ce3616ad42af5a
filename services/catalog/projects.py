"""Projects of tenants: found, listed and made."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from services.catalog import store
from shared import cursors
from shared.contracts.projects import CreateProject, FindProject, ListProjects, Project, ProjectPage
from shared.errors import Conflict, NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.catalog.app import Catalog


async def find_project(app: Catalog, command: FindProject, _context: Context) -> Project:
    """The project of the scope. Raises NotFound."""
    scope = command.scope
    async with app.database.connection() as connection:
        row = await connection.fetchrow(store.queries.find_project, scope.tenant_id, scope.project_id)
    if row is None:
        raise NotFound("There is no such project.")
    return _project(row)


async def list_projects(app: Catalog, command: ListProjects, _context: Context) -> ProjectPage:
    """A page of a tenant's projects. Raises Invalid for a cursor that no page has given out."""
    tenant_id, only = command.scope.tenant_id, command.only
    after = cursors.place(command.cursor, datetime, UUID) if command.cursor else (None, None)
    offset = 0 if command.cursor else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        total = await connection.fetchval(store.queries.count_projects, tenant_id, only)
        rows = await connection.fetch(
            store.queries.page_of_projects, tenant_id, only, *after, command.page_size + 1, offset
        )
    shown, more = rows[: command.page_size], len(rows) > command.page_size
    return ProjectPage(
        items=[_project(row) for row in shown],
        total_count=total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=more,
        next_cursor=cursors.cursor(shown[-1]["created_at"], shown[-1]["project_id"]) if more else None,
    )


async def create_project(_app: Catalog, command: CreateProject, context: Context) -> Project:
    """Make the project of the scope. Raises Conflict when there is one and there must be none."""
    scope = command.scope
    subject = command.caller.subject.replace("\x00", "")
    async with context.transaction() as transaction:
        row = await transaction.sql.row(
            store.queries.insert_project, scope.tenant_id, scope.project_id, command.project_name, subject
        )
        if row is None:
            row = await transaction.sql.row(store.queries.find_project, scope.tenant_id, scope.project_id)
            if not command.may_exist or row is None:
                raise Conflict("There is such a project already; leave projectId out, or send another.")
        return transaction.reply(_project(row))


def _project(row: asyncpg.Record) -> Project:
    return Project(
        project_id=row["project_id"],
        tenant_id=row["tenant_id"],
        project_name=row["name"],
        date_created=row["created_at"],
        created_by=row["created_by"],
    )
