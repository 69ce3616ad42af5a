"""Applies numbered SQL files, forward only, each once, under a lock and with timeouts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog

log = structlog.get_logger(__name__)

LOCK_TIMEOUT_MS = 10_000
"""A migration that cannot get its locks in this time gives up instead of blocking the service, in milliseconds."""

MIGRATION_LOCK = 0x61_74_65_6C_69_65_72
"""Advisory lock number (the word `atelier`): one migrator at a time."""

SHARED_FOLDER = Path(__file__).parent / "migrations"

_FILE_NAME = re.compile(r"^(\d{4})_\w+\.sql$")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One service's schema: its name, its migrations, and the role (with password) that may use it."""

    name: str
    folder: Path
    dsn: str

    @property
    def role(self) -> str:
        """The role's name, from the service's own DSN."""
        return unquote(urlsplit(self.dsn).username or "")

    @property
    def password(self) -> str:
        """The role's password, from the service's own DSN."""
        return unquote(urlsplit(self.dsn).password or "")


def files(folder: Path) -> list[Path]:
    """The migrations of a folder in order; raises ValueError for a number used twice or a name off the pattern."""
    found = sorted(folder.glob("*.sql"))
    numbers = []
    for path in found:
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise ValueError(f"{path.name} is not named like 0001_what_it_does.sql")
        numbers.append(match[1])
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"two migrations in {folder} have the same number")
    return found


async def migrate(admin_dsn: str, schemas: list[Schema]) -> list[str]:
    """Bring every schema up to date; returns the names of the migrations applied. Safe to run twice or at once."""
    connection = await asyncpg.connect(admin_dsn, timeout=10)
    applied: list[str] = []
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        await connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        for schema in schemas:
            await _ensure_role(connection, schema)
            applied += await _apply(connection, schema)
    finally:
        await connection.close()
    return applied


async def _ensure_role(connection: asyncpg.Connection, schema: Schema) -> None:
    """One role a service, able to use its own schema and nothing else (decision 1)."""
    role, password = await connection.fetchrow(
        "SELECT quote_ident($1), quote_literal($2)", schema.role, schema.password
    )
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", schema.role)
    await connection.execute(f"{'ALTER' if exists else 'CREATE'} ROLE {role} LOGIN PASSWORD {password}")
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema.name}")
    await connection.execute(f"GRANT USAGE ON SCHEMA {schema.name} TO {role}")
    for objects in ("TABLES", "SEQUENCES"):
        rights = "SELECT, INSERT, UPDATE, DELETE" if objects == "TABLES" else "USAGE, SELECT"
        await connection.execute(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema.name} GRANT {rights} ON {objects} TO {role}"
        )


async def _apply(connection: asyncpg.Connection, schema: Schema) -> list[str]:
    ledger = f"{schema.name}.migration"
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {ledger} (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    done = {row["name"] for row in await connection.fetch(f"SELECT name FROM {ledger}")}
    plan = [(f"shared/{path.name}", path) for path in files(SHARED_FOLDER)]
    plan += [(path.name, path) for path in files(schema.folder)]
    applied = []
    for name, path in plan:
        if name in done:
            continue
        async with connection.transaction():
            await connection.execute(f"SET LOCAL search_path = {schema.name}")
            await connection.execute(path.read_text(encoding="utf-8"))
            await connection.execute(f"INSERT INTO {ledger} (name) VALUES ($1)", name)
        applied.append(f"{schema.name}/{name}")
        log.info("migration applied", schema=schema.name, migration=name)
    return applied
