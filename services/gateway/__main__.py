"""Starts the gateway (`python -m services.gateway`), or makes an API key (`… create-key`)."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated
from uuid import UUID

import typer

from services.gateway.app import SCHEMA, build
from services.gateway.model import Role
from services.gateway.settings import JwtSettings, KeyStoreSettings, Settings
from services.gateway.store import KeyStore
from shared import memory, process
from shared.database import Database
from shared.errors import Unavailable
from shared.settings import load

command_line = typer.Typer(add_completion=False, help=__doc__)

MAKE_KEY_S = 30.0
"""How long to wait for the database when making a key, in seconds."""


@command_line.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Serve the API until told to stop."""
    if context.invoked_subcommand is None:
        settings = load(Settings)
        memory.give_back()
        process.run(
            "gateway", build(settings, load(JwtSettings)), ops_bind=settings.ops_bind, log_level=settings.log_level
        )


@command_line.command("create-key")
def create_key(
    tenant: Annotated[UUID, typer.Option(help="the tenant that the key belongs to")],
    role: Annotated[str, typer.Option(help="viewer, runner, editor or admin")],
    name: Annotated[str, typer.Option(help="who or what uses the key; shows as createdBy")],
    project: Annotated[UUID | None, typer.Option(help="confine the key to one project, which it cannot make")] = None,
) -> None:
    """Make an API key and print it. It is stored hashed, so this is the only time it can be seen."""
    if role not in Role.__members__:
        raise typer.BadParameter("must be viewer, runner, editor or admin", param_hint="--role")
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise typer.BadParameter("must have 1 to 200 printable characters", param_hint="--name")
    try:
        key = asyncio.run(_create_key(tenant, project, Role[role], name))
    except (Unavailable, TimeoutError):
        sys.exit("the gateway's database cannot be reached; see ATELIER_GATEWAY_POSTGRES_DSN")
    print(key)


async def _create_key(tenant: UUID, project: UUID | None, role: Role, name: str) -> str:
    database = Database(load(KeyStoreSettings).gateway_postgres_dsn.get_secret_value(), schema=SCHEMA)
    async with asyncio.timeout(MAKE_KEY_S):
        await database.open()
    try:
        return await KeyStore(database).create(tenant_id=tenant, project_id=project, role=role, name=name)
    finally:
        await database.close()


if __name__ == "__main__":
    command_line()
