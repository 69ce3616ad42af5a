"""API keys made in this process, by the code that the command `create-key` calls: a Python start each would be most of
a short test's time."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from deploy.local import Stack
from services.catalog.store import queries
from services.gateway.app import SCHEMA
from services.gateway.model import Role
from services.gateway.store import KeyStore
from shared.database import Database


async def make_key(stack: Stack, *, tenant: str, project: str | None, role: str, name: str = "tests") -> str:
    """Store a new key of a tenant, confined to a project if one is given, and return it. That project exists then: a
    key that is confined to it would not make it."""
    database = Database(stack.role_dsn(SCHEMA), schema=SCHEMA)
    await database.open()
    try:
        confined = None if project is None else UUID(project)
        if project is not None:
            await make_project(stack, tenant=tenant, project=project)
        return await KeyStore(database).create(tenant_id=UUID(tenant), project_id=confined, role=Role[role], name=name)
    finally:
        await database.close()


async def make_project(stack: Stack, *, tenant: str, project: str) -> None:
    """Make a project, as an admin's first write does."""
    connection = await asyncpg.connect(stack.role_dsn("catalog"), server_settings={"search_path": "catalog"})
    try:
        await connection.execute(queries.insert_project, UUID(tenant), UUID(project), None, "tests")
    finally:
        await connection.close()
