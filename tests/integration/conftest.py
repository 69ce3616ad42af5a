"""A PostgreSQL for all tests of one service's SQL: each service has a schema and a role of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stacks import private_stack


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The database, as its owner sees it."""
    with private_stack(only=["postgres"]) as stack:
        yield stack.postgres.dsn
