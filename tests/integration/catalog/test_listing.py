"""Lists: filters, order, search, pages and exact counts, against a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.catalog import purge
from shared.contracts.notebooks import (
    CreateNotebook,
    DeleteNotebook,
    ListNotebooks,
    Notebook,
    NotebookDraft,
    UpdateNotebook,
)
from shared.errors import Invalid
from tests.integration.catalog.conftest import Bench


async def create(bench: Bench, name: str, **members: Any) -> Notebook:
    created: Notebook = await bench.ask(
        CreateNotebook, draft=NotebookDraft.model_validate({"notebookName": name, **members})
    )
    return created


async def names(bench: Bench, **members: Any) -> list[str]:
    page = await bench.ask(ListNotebooks, **members)
    assert page.total_count >= len(page.notebooks)
    return [line.notebook_name for line in page.notebooks]


async def test_an_empty_project(bench: Bench) -> None:
    page = await bench.ask(ListNotebooks)
    assert (page.notebooks, page.total_count, page.page, page.page_size) == ([], 0, 1, 20)
    assert (page.has_next_page, page.next_cursor) == (False, None)


async def test_filters_and_their_counts(bench: Bench) -> None:
    await create(bench, "plain")
    await create(bench, "enriching", integration={"enrichmentMode": True})
    await create(bench, "statistics", kernelType="r", integration={"enrichmentMode": True})
    gone = await create(bench, "gone")
    await bench.ask(DeleteNotebook, notebook_id=gone.notebook_id)
    for members, expected in (
        ({}, 3),
        ({"enrichment_mode": True}, 2),
        ({"enrichment_mode": False}, 1),
        ({"kernel_type": "r"}, 1),
        ({"kernel_type": "scala"}, 0),
        ({"kernel_type": "r", "enrichment_mode": False}, 0),
        ({"status": "Ready"}, 3),
        ({"status": "Running"}, 0),
        ({"search": "I"}, 3),
        ({"search": "ICHIN"}, 1),
    ):
        page = await bench.ask(ListNotebooks, **members)
        assert (page.total_count, len(page.notebooks)) == (expected, expected), members


async def test_search_takes_wildcards_literally(bench: Bench) -> None:
    for name in ("100% sure", "100 percent", "under_score", "underscore", "back\\slash", "Straße"):
        await create(bench, name)
    assert await names(bench, search="100%") == ["100% sure"]
    assert await names(bench, search="r_s") == ["under_score"]
    assert await names(bench, search="\\") == ["back\\slash"]
    assert await names(bench, search="STRASSE") == ["Straße"]
    assert await names(bench, search="'; DROP TABLE notebook; --") == []


@pytest.mark.parametrize("sort", ["dateCreated", "dateModified", "notebookName", "lastExecutionDate"])
@pytest.mark.parametrize("direction", ["", "-"])
async def test_cursors_neither_skip_nor_repeat(bench: Bench, sort: str, direction: str) -> None:
    made = [await create(bench, f"{'abc'[number % 3]}{'B' if number % 2 else 'b'}") for number in range(7)]
    await bench.ask(UpdateNotebook, notebook_id=made[0].notebook_id, patch={"notebookName": "zz"})
    async with bench.app.database.connection() as connection:
        for number in (1, 3):
            moment = datetime.now(UTC) - timedelta(hours=number)
            await connection.execute(
                "UPDATE notebook SET last_execution_date = $2 WHERE notebook_id = $1", made[number].notebook_id, moment
            )
    order = direction + sort
    whole = await bench.ask(ListNotebooks, sort=order)
    by_number, by_cursor, cursor = [], [], None
    for number in (1, 2, 3, 4):
        page = await bench.ask(ListNotebooks, sort=order, page=number, page_size=2)
        by_number += [line.notebook_id for line in page.notebooks]
        assert page.has_next_page == (number < 4)
        page = await bench.ask(ListNotebooks, sort=order, page_size=2, cursor=cursor)
        by_cursor += [line.notebook_id for line in page.notebooks]
        cursor = page.next_cursor
        assert page.total_count == 7
    assert cursor is None
    expected = [line.notebook_id for line in whole.notebooks]
    assert by_number == expected
    assert by_cursor == expected
    values = [
        {
            "dateCreated": line.date_created,
            "dateModified": line.date_modified,
            "notebookName": line.notebook_name.casefold(),
            "lastExecutionDate": line.last_execution_date or datetime(1, 1, 1, tzinfo=UTC),
        }[sort]
        for line in whole.notebooks
    ]
    assert values == sorted(values, reverse=direction == "-")


async def test_a_cursor_holds_while_notebooks_come_and_go(bench: Bench) -> None:
    made = [await create(bench, str(number)) for number in range(4)]
    first = await bench.ask(ListNotebooks, page_size=2)
    assert [line.notebook_name for line in first.notebooks] == ["3", "2"]
    await create(bench, "newer")
    await bench.ask(DeleteNotebook, notebook_id=made[2].notebook_id)
    second = await bench.ask(ListNotebooks, page_size=2, cursor=first.next_cursor)
    assert [line.notebook_name for line in second.notebooks] == ["1", "0"]
    assert second.total_count == 4


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"sort": "colour"}, "sort"),
        ({"sort": "--dateCreated"}, "sort"),
        ({"page": 0}, "page"),
        ({"page_size": 0}, "pageSize"),
        ({"page_size": 101}, "pageSize"),
        ({"search": "\x00"}, "search"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "W10"}, "cursor"),
        ({"cursor": "WyItZGF0ZUNyZWF0ZWQiLCAxLCAyXQ"}, "cursor"),
        ({"cursor": "äöü"}, "cursor"),
    ],
)
async def test_faulty_requests(bench: Bench, members: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as raised:
        await bench.ask(ListNotebooks, **members)
    assert [fault.path for fault in raised.value.faults] == [path]


async def test_a_cursor_belongs_to_its_sort(bench: Bench) -> None:
    for number in range(3):
        await create(bench, str(number))
    cursor = (await bench.ask(ListNotebooks, page_size=1)).next_cursor
    with pytest.raises(Invalid) as raised:
        await bench.ask(ListNotebooks, page_size=1, sort="notebookName", cursor=cursor)
    assert raised.value.faults[0].path == "cursor"


@pytest.mark.parametrize("chunk", [5, 10_000])
async def test_folding_the_tally_changes_no_count(bench: Bench, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(purge, "TALLY_CHUNK", chunk)
    made = [await create(bench, str(number)) for number in range(5)]
    for notebook in made[:2]:
        await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={"kernelType": "r"})
    await bench.ask(DeleteNotebook, notebook_id=made[0].notebook_id)
    monkeypatch.setattr(purge, "CROWDED_TALLY", 3)
    rows = "SELECT count(*) FROM notebook_tally WHERE project_id = $1"
    async with bench.app.database.connection() as connection:
        assert await connection.fetchval(rows, bench.scope.project_id) == 10
        await bench.app.purge.fold_tallies()
        assert await connection.fetchval(rows, bench.scope.project_id) <= 3
    for kernel, count in (("python3", 3), ("r", 1), (None, 4)):
        assert (await bench.ask(ListNotebooks, kernel_type=kernel)).total_count == count
