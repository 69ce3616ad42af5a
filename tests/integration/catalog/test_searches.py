"""Searches that are counted once: as exact as counting anew, whatever is committed in between, and on every replica."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.catalog import listing, searches
from services.catalog.searches import Searches
from services.catalog.store import queries
from shared.contracts.base import Caller, Scope
from shared.contracts.notebooks import DeleteNotebook, ListNotebooks, NotebookPage
from tests.integration.catalog.conftest import Bench
from tests.integration.catalog.test_listing import create

WRITERS = 3
NAMES = st.sampled_from(["abc", "abcd", "bcd one", "100% abc", "xyz", "ab", "éab"])
TEXTS = st.sampled_from(["abc", "bcd", "ab", "b", "0%", "xyz", "é", "nothing"])
STATES = st.sampled_from(["Ready", "Running", "Error"])
WRITER = st.integers(0, WRITERS - 1)
WHICH = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), WRITER, NAMES),
        st.tuples(st.just("rename"), WRITER, WHICH, NAMES),
        st.tuples(st.just("status"), WRITER, WHICH, STATES),
        st.tuples(st.just("enrich"), WRITER, WHICH, st.booleans()),
        st.tuples(st.just("hide"), WRITER, WHICH),
        st.tuples(st.just("insert"), WRITER, NAMES),
        st.tuples(st.just("commit"), WRITER),
        st.tuples(st.just("commit"), WRITER),
        st.tuples(st.just("roll back"), WRITER),
        st.tuples(st.just("fold"), WRITER),
        st.tuples(st.just("search"), st.integers(0, 1), TEXTS, st.none() | STATES, st.sampled_from(["", "name"])),
    ),
    min_size=10,
    max_size=40,
)
CHANGES = {
    "rename": "name = $2, name_key = $2",
    "status": "status = $2",
    "enrich": "enrichment_mode = $2",
    "hide": "deleted_at = clock_timestamp()",
}


class Writer:
    """A connection that changes notebooks of its own, in transactions that stay open as long as they are left."""

    def __init__(self, connection: asyncpg.Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._transaction: Any = None

    async def do(self, scope: Scope, kind: str, *values: Any) -> None:
        """One step; a savepoint around each, as drivers set them."""
        if kind in ("commit", "roll back"):
            await self.end(kind)
            return
        if self._transaction is None:
            self._transaction = self._connection.transaction()
            await self._transaction.start()
        async with self._connection.transaction():
            if kind == "insert":
                await self._insert(scope, values[0])
            elif kind == "fold":
                await self._connection.execute(queries.fold_tallies, 2, 10_000)
            else:
                await self._change(scope, kind, *values)

    async def end(self, kind: str) -> None:
        """Commit or roll back what is open."""
        if self._transaction is not None:
            await (self._transaction.commit() if kind == "commit" else self._transaction.rollback())
            self._transaction = None

    async def _insert(self, scope: Scope, name: str) -> None:
        await self._connection.execute(
            "INSERT INTO notebook (notebook_id, tenant_id, project_id, name, name_key, kernel_type, enrichment_mode, "
            "cell_count, version, etag, highest_cell_number, created_at, created_by, modified_at) "
            "VALUES ($1, $2, $3, $4, $4, 'python3', false, 0, '1.0.0', '', 0, clock_timestamp(), $5, now())",
            uuid4(),
            scope.tenant_id,
            scope.project_id,
            name,
            self._name,
        )

    async def _change(self, scope: Scope, kind: str, which: int, *value: Any) -> None:
        notebook_id = await self._connection.fetchval(
            "SELECT notebook_id FROM notebook WHERE project_id = $1 AND created_by = $2 AND deleted_at IS NULL "
            "ORDER BY created_at LIMIT 1 OFFSET $3",
            scope.project_id,
            self._name,
            which,
        )
        if notebook_id is not None:
            await self._connection.execute(
                f"UPDATE notebook SET {CHANGES[kind]} WHERE notebook_id = $1", notebook_id, *value
            )


@pytest.fixture
async def connections(catalog_dsn: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """One for each writer and one that reads."""
    async with AsyncExitStack() as opened:
        made = []
        for _ in range(WRITERS + 1):
            connection = await asyncpg.connect(catalog_dsn, server_settings={"search_path": "catalog"})
            opened.push_async_callback(connection.close)
            made.append(connection)
        yield made


async def listed(
    connection: asyncpg.Connection, replica: Searches, scope: Scope, text: str, status: str | None, sort: str = ""
) -> NotebookPage:
    order = {"sort": "notebookName"} if sort else {}
    members = {"search": text, "status": status, "page_size": 100, **order}
    command = ListNotebooks.model_validate({"scope": scope, "caller": Caller(subject="anna"), **members})
    return await listing.page(connection, command, replica)


async def counted(connection: asyncpg.Connection, scope: Scope, text: str, status: str | None) -> set[UUID]:
    """What a search must find."""
    rows = await connection.fetch(
        "SELECT notebook_id FROM notebook WHERE project_id = $1 AND deleted_at IS NULL AND strpos(name_key, $2) > 0 "
        "AND ($3::text IS NULL OR status = $3)",
        scope.project_id,
        text,
        status,
    )
    return {row["notebook_id"] for row in rows}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(steps=STEPS, few=st.sampled_from([0, 2, 200]))
async def test_interleaved_transactions(
    connections: list[asyncpg.Connection], steps: list[tuple[Any, ...]], few: int
) -> None:
    scope = Scope(tenant_id=uuid4(), project_id=uuid4())
    *writing, reading = connections
    writers = [Writer(connection, f"writer {number}") for number, connection in enumerate(writing)]
    replicas = [Searches(), Searches()]

    async def check(replica: Searches, text: str, status: str | None, sort: str = "") -> None:
        page = await listed(reading, replica, scope, text, status, sort)
        expected = await counted(reading, scope, text, status)
        assert page.total_count == len(expected)
        assert {line.notebook_id for line in page.notebooks} == expected

    with patch.object(searches, "FEW", few):
        try:
            for kind, number, *values in steps:
                if kind == "search":
                    await check(replicas[number], *values)
                    continue
                await writers[number].do(scope, kind, *values)
                if kind == "commit":  # while others' transactions stay open
                    for text in ("abc", "b", "abc", "b"):
                        await check(replicas[0], text, None)
        finally:
            for writer in writers:
                await writer.end("commit")
        for replica in replicas:
            for text in ("abc", "b", "bcd"):
                await check(replica, text, None)


async def test_a_text_is_counted_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    replica, counts = Searches(), 0
    count = searches._count

    async def watched(*arguments: Any) -> Any:
        nonlocal counts
        counts += 1
        return await count(*arguments)

    monkeypatch.setattr(searches, "_count", watched)
    async with bench.app.database.connection() as connection:
        for number in range(3):
            await create(bench, f"Quarterly {number}")
            assert (await listed(connection, replica, bench.scope, "quarterly", None)).total_count == number + 1
            assert (await listed(connection, replica, bench.scope, "quarterly", "Error")).total_count == 0
        assert counts == 1
        await connection.execute(queries.fold_tallies, 1, 10_000)  # the names are gone from the tally
        for _ in range(2):
            assert (await listed(connection, replica, bench.scope, "quarterly", None)).total_count == 3
        assert counts == 2


async def test_an_emptied_project(bench: Bench) -> None:
    """What is folded then adds up to nothing, and is a change all the same."""
    replica = Searches()
    gone = await create(bench, "Gone")
    async with bench.app.database.connection() as connection:
        assert (await listed(connection, replica, bench.scope, "gone", None)).total_count == 1
        await bench.ask(DeleteNotebook, notebook_id=gone.notebook_id)
        await connection.execute(queries.fold_tallies, 1, 10_000)
        assert (await listed(connection, replica, bench.scope, "gone", None)).total_count == 0


async def test_rows_of_another_server(bench: Bench) -> None:
    """After a restore the tally's rows bear numbers of transactions that this server has yet to see."""
    replica = Searches()
    await create(bench, "Restored")
    async with bench.app.database.connection() as connection:
        await connection.execute(
            "UPDATE notebook_tally SET xid = (xid::text::bigint + 1000000000)::text::xid8 WHERE project_id = $1",
            bench.scope.project_id,
        )
        for _ in range(2):
            assert (await listed(connection, replica, bench.scope, "restored", None)).total_count == 1
        await connection.execute(queries.fold_tallies, 500, 10_000)
        xids = "SELECT count(*) FROM notebook_tally WHERE project_id = $1 AND xid >= pg_current_xact_id()"
        assert await connection.fetchval(xids, bench.scope.project_id) == 0
        for number in range(2):
            assert (await listed(connection, replica, bench.scope, "restored", None)).total_count == number + 1
            await create(bench, "Restored, too")


async def test_counts_of_another_server_are_not_believed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Searches()
    await create(bench, "One")
    async with bench.app.database.connection() as connection:
        assert (await listed(connection, replica, bench.scope, "one", None)).total_count == 1
        other = queries.changed_names.replace("pg_postmaster_start_time()", "'2000-01-01Z'::timestamptz")
        monkeypatch.setattr(queries, "changed_names", other, raising=False)
        await create(bench, "One more")
        assert (await listed(connection, replica, bench.scope, "one", None)).total_count == 2


async def test_only_so_many_texts_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "KEPT", 2)
    replica = Searches()
    await create(bench, "abc")
    async with bench.app.database.connection() as connection:
        for text in ("a", "b", "a", "c"):
            assert (await listed(connection, replica, bench.scope, text, None)).total_count == 1
    assert [text for _, _, text in replica._kept] == ["a", "c"]
