"""The executor's schema in a PostgreSQL of the tests' own, for tests of what executor does in SQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from services import executor
from shared import migrations


@pytest.fixture(scope="session")
async def executor_dsn(postgres_dsn: str) -> str:
    """The database as the executor's own role sees it, migrated."""
    dsn = f"postgresql://atelier_executor:of-the-tests@{postgres_dsn.partition('@')[2]}"
    folder = Path(executor.__file__).parent / "migrations"
    await migrations.migrate(postgres_dsn, [migrations.Schema(name="executor", folder=folder, dsn=dsn)])
    return dsn
