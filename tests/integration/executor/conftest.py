"""The executor's schema in a PostgreSQL of the tests' own, for tests of what executor does in SQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import Stack
from services import executor
from shared import migrations


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A database server, as its owner sees it."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-executor-"))
    folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
    stack = Stack(folder / "stack")
    stack.end_with_this_process()
    try:
        stack.up(only=["postgres"])
        yield stack.postgres.dsn
    finally:
        stack.delete()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def executor_dsn(postgres_dsn: str) -> str:
    """The database as the executor's own role sees it, migrated."""
    dsn = f"postgresql://atelier_executor:of-the-tests@{postgres_dsn.partition('@')[2]}"
    folder = Path(executor.__file__).parent / "migrations"
    await migrations.migrate(postgres_dsn, [migrations.Schema(name="executor", folder=folder, dsn=dsn)])
    return dsn
