"""API keys: made here, shown once, kept as hashes in the gateway's own schema."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from services.gateway.model import Principal, Role
from shared.database import Database
from shared.errors import Unavailable
from shared.sql import Queries

log = structlog.get_logger(__name__)

SQL = Queries(Path(__file__).with_name("queries.sql"))

KEY_PREFIX = "atl_"
"""Begins every API key, so that people and secret scanners recognise one."""

KEY_BYTES = 32
"""Randomness of a key: 256 bit."""


def new_key() -> str:
    """A fresh random key."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def key_hash(key: str) -> bytes:
    """What is stored of a key: its SHA-256. A fast hash is enough for 256 random bits."""
    return hashlib.sha256(key.encode()).digest()


class KeyStore:
    """The table of API keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, *, tenant_id: UUID, project_id: UUID | None, role: Role, name: str) -> str:
        """Make a key and return it; it cannot be seen again. Raises Unavailable."""
        key = new_key()
        async with self._database.connection() as connection:
            await connection.execute(SQL.add_key, uuid4(), key_hash(key), tenant_id, project_id, role.name, name)
        return key

    async def find(self, digest: bytes) -> Principal | None:
        """Who the key with this hash belongs to; None when there is none or it was revoked. Raises Unavailable."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL.find_key, digest)
        if row is None:
            return None
        if row["use_to_be_noted"]:
            await self._note_use(row["key_id"])
        return Principal(
            credential=f"key:{row['key_id']}",
            subject=row["name"],
            tenant_id=row["tenant_id"],
            project_id=row["project_id"],
            role=Role[row["role"]],
        )

    async def _note_use(self, key_id: UUID) -> None:
        try:
            async with self._database.connection() as connection:
                await connection.execute(SQL.note_use, key_id)
        except Unavailable as error:
            log.info("use of a key not noted", key_id=str(key_id), reason=error.detail)
