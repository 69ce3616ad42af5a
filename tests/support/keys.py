"""API keys made in this process, by the code that the command `create-key` calls: a Python start each would be most of
a short test's time."""

from __future__ import annotations

from uuid import UUID

from deploy.local import Stack
from services.gateway.app import SCHEMA
from services.gateway.model import Role
from services.gateway.store import KeyStore
from shared.database import Database


async def make_key(stack: Stack, *, tenant: str, project: str | None, role: str, name: str = "tests") -> str:
    """Store a new key of a tenant, confined to a project if one is given, and return it."""
    database = Database(stack.role_dsn(SCHEMA), schema=SCHEMA)
    await database.open()
    try:
        confined = None if project is None else UUID(project)
        return await KeyStore(database).create(tenant_id=UUID(tenant), project_id=confined, role=Role[role], name=name)
    finally:
        await database.close()
