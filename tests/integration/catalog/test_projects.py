"""Projects: made once, listed by pages, taken over from releases that kept no list."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.catalog import handlers
from shared.contracts.base import Scope
from shared.contracts.projects import CreateProject, FindProject, ListProjects
from shared.errors import Conflict, NotFound
from tests.integration.catalog.conftest import Bench

MIGRATION = Path(handlers.__file__).parent / "migrations/0011_projects.sql"


async def make(bench: Bench, tenant: UUID, *, may_exist: bool = False) -> UUID:
    scope = Scope(tenant_id=tenant, project_id=uuid4())
    made = await bench.ask(CreateProject, scope=scope, project_name="a name", may_exist=may_exist)
    assert (made.tenant_id, made.project_id, made.project_name) == (tenant, scope.project_id, "a name")
    return scope.project_id


async def test_a_project_is_made_once(bench: Bench) -> None:
    tenant = uuid4()
    scope = Scope(tenant_id=tenant, project_id=await make(bench, tenant))
    assert (await bench.ask(FindProject, scope=scope)).project_id == scope.project_id
    with pytest.raises(Conflict):
        await bench.ask(CreateProject, scope=scope)
    again = await bench.ask(CreateProject, scope=scope, project_name="another", may_exist=True)
    assert again.project_name == "a name"
    elsewhere = Scope(tenant_id=uuid4(), project_id=scope.project_id)
    with pytest.raises(NotFound):
        await bench.ask(FindProject, scope=elsewhere)


async def test_pages_neither_skip_nor_repeat(bench: Bench) -> None:
    tenant = uuid4()
    made = [await make(bench, tenant) for _ in range(5)]
    scope = Scope(tenant_id=tenant, project_id=UUID(int=0))
    seen, cursor = [], None
    while True:
        page = await bench.ask(ListProjects, scope=scope, page_size=2, cursor=cursor)
        assert page.total_count == 5
        seen += [item.project_id for item in page.items]
        cursor = page.next_cursor
        if not page.has_next_page:
            break
    assert len(seen) == 5
    assert set(seen) == set(made)
    second = await bench.ask(ListProjects, scope=scope, page_size=2, page=2)
    assert [item.project_id for item in second.items] == seen[2:4]
    only = await bench.ask(ListProjects, scope=scope, only=made[3])
    assert ([item.project_id for item in only.items], only.total_count) == ([made[3]], 1)


async def test_projects_of_older_releases_are_taken_over(postgres_dsn: str) -> None:
    """The migration on a database with a schema each for those who know of projects."""
    connection = await asyncpg.connect(postgres_dsn)
    transaction = connection.transaction()
    await transaction.start()
    try:
        name = f"old_{uuid4().hex}"
        await connection.execute(f"CREATE SCHEMA {name}; SET LOCAL search_path = {name}")
        await connection.execute("CREATE TABLE notebook (tenant_id uuid, project_id uuid)")
        schemas = {"artifacts": "dataset", "gateway": "api_key"}
        rows = [(uuid4(), uuid4()) for _ in range(3)]
        await connection.execute("INSERT INTO notebook SELECT $1, $2 FROM generate_series(1, 2)", *rows[0])
        for row, (schema, table) in zip(rows[1:], schemas.items(), strict=True):
            await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
            await connection.execute(f"CREATE TABLE {schema}.{table} (tenant_id uuid, project_id uuid)")
            await connection.execute(f"INSERT INTO {schema}.{table} VALUES ($1, $2), ($1, NULL)", *row)
        await connection.execute(MIGRATION.read_text())
        found = await connection.fetch("SELECT tenant_id, project_id FROM project")
        assert {(row["tenant_id"], row["project_id"]) for row in found} == set(rows)
    finally:
        await transaction.rollback()
        await connection.close()
