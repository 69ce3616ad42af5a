"""History: who, when and why; differences, restore and copy, against a real database."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import nbformat
import orjson
import pytest
from nbdime import patch_notebook

from shared.contracts.base import Command, Idempotency
from shared.contracts.notebooks import (
    CreateNotebook,
    DeleteCell,
    DeleteNotebook,
    ExportNotebook,
    GetNotebook,
    Notebook,
    NotebookDraft,
    PinNotebook,
    Precondition,
    UpdateCell,
    UpdateNotebook,
)
from shared.contracts.versions import (
    CopyNotebook,
    CopyRequest,
    DiffVersions,
    GetVersion,
    ListVersions,
    RestoreVersion,
    ShowDiff,
)
from shared.errors import Conflict, Invalid, NotFound
from tests.integration.catalog.conftest import Bench


@pytest.fixture
async def notebook(bench: Bench) -> Notebook:
    """Three versions: 1.0.0, 1.1.0 (a cell changed), 1.1.1 (renamed)."""
    cells = [{"cellType": "code", "content": "one = 1"}, {"cellType": "markdown", "content": "# Two"}]
    draft = NotebookDraft.model_validate({"notebookName": "First", "initialCells": cells})
    created = await bench.ask(CreateNotebook, draft=draft, change_message="begun")
    await bench.ask(
        UpdateCell,
        notebook_id=created.notebook_id,
        cell_id="cell-001",
        patch={"content": "one = 11"},
        change_message="  eleven is better \x00",
    )
    renamed: Notebook = await bench.ask(
        UpdateNotebook, notebook_id=created.notebook_id, patch={"notebookName": "Second"}
    )
    return renamed


async def export(bench: Bench, notebook: Notebook, version: str | None = None) -> dict[str, Any]:
    file = await bench.ask(ExportNotebook, notebook_id=notebook.notebook_id, version=version)
    content: dict[str, Any] = file.content
    nbformat.validate(nbformat.from_dict(content))
    return content


async def test_the_history_says_who_when_and_why(bench: Bench, notebook: Notebook) -> None:
    page = await bench.ask(ListVersions, notebook_id=notebook.notebook_id)
    assert [line.version for line in page.versions] == ["1.1.1", "1.1.0", "1.0.0"]
    assert [line.change_message for line in page.versions] == [None, "eleven is better", "begun"]
    assert {line.created_by for line in page.versions} == {"anna@example.org"}
    assert page.versions[0].date_created > page.versions[1].date_created > page.versions[2].date_created
    assert page.versions[0].content_sha256 == page.versions[1].content_sha256 != page.versions[2].content_sha256
    assert (page.total_count, page.has_next_page) == (3, False)


async def test_pages_of_the_history(bench: Bench, notebook: Notebook) -> None:
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    first = await bench.ask(ListVersions, **about, page_size=2)
    assert [line.version for line in first.versions] == ["1.1.1", "1.1.0"]
    assert first.has_next_page
    await bench.ask(UpdateNotebook, **about, patch={"notebookName": "Third"})
    by_cursor = await bench.ask(ListVersions, **about, page_size=2, cursor=first.next_cursor)
    assert [line.version for line in by_cursor.versions] == ["1.0.0"]
    assert by_cursor.next_cursor is None
    by_number = await bench.ask(ListVersions, **about, page=2, page_size=2)
    assert [line.version for line in by_number.versions] == ["1.1.0", "1.0.0"]
    for cursor in ("nonsense", "äöü", "LTE", ""):
        with pytest.raises(Invalid) as raised:
            await bench.ask(ListVersions, **about, cursor=cursor)
        assert raised.value.faults[0].path == "cursor"


async def test_a_version_stays_as_it_was(bench: Bench, notebook: Notebook) -> None:
    first = await bench.ask(GetVersion, notebook_id=notebook.notebook_id, version="1.0.0")
    assert (first.notebook_name, first.change_message) == ("First", "begun")
    assert [(cell.cell_id, cell.content) for cell in first.cells] == [("cell-001", "one = 1"), ("cell-002", "# Two")]
    pinned = await bench.ask(PinNotebook, notebook_id=notebook.notebook_id, version="1.0.0")
    assert pinned.content["cells"][0]["source"] == "one = 1"


@pytest.mark.parametrize("version", ["9.9.9", "1.0", "", "1.0.0 ", "x" * 500])
async def test_there_is_no_such_version(bench: Bench, notebook: Notebook, version: str) -> None:
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    with pytest.raises(NotFound, match=r"1\.1\.1"):
        await bench.ask(GetVersion, **about, version=version)
    with pytest.raises(NotFound):
        await bench.ask(DiffVersions, **about, a="1.0.0", b=version)
    with pytest.raises(NotFound):
        await bench.ask(RestoreVersion, **about, version=version)
    with pytest.raises(Invalid):
        await bench.ask(CopyNotebook, **about, request=CopyRequest(version=version))


async def test_history_is_the_owners_alone(bench: Bench, notebook: Notebook) -> None:
    elsewhere = bench.scope.model_copy(update={"project_id": uuid4()})
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id, "scope": elsewhere}
    asked: list[tuple[type[Command[Any]], dict[str, Any]]] = [
        (ListVersions, {}),
        (GetVersion, {"version": "1.0.0"}),
        (DiffVersions, {"a": "1.0.0", "b": "1.1.0"}),
        (RestoreVersion, {"version": "1.0.0"}),
        (CopyNotebook, {"request": CopyRequest()}),
    ]
    for command, members in asked:
        with pytest.raises(NotFound):
            await bench.ask(command, **about, **members)


async def test_the_diff_leads_from_one_version_to_the_other(bench: Bench, notebook: Notebook) -> None:
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    diff = await bench.ask(DiffVersions, **about, a="1.0.0", b="1.1.0")
    assert not diff.equal
    assert [(cell.cell_id, cell.change, cell.lines) for cell in diff.cells] == [
        ("cell-001", "changed", ["-one = 1", "+one = 11"])
    ]
    before = nbformat.from_dict(await export(bench, notebook, "1.0.0"))
    assert patch_notebook(before, nbformat.from_dict(diff.diff)) == await export(bench, notebook, "1.1.0")
    settings = await bench.ask(DiffVersions, **about, a="1.1.1", b="1.1.0")
    assert (settings.equal, settings.cells, settings.diff) == (False, [], [])
    assert [(setting.path, setting.a, setting.b) for setting in settings.settings] == [
        ("notebookName", "Second", "First")
    ]
    same = await bench.ask(DiffVersions, **about, a="1.1.0", b="1.1.0")
    assert (same.equal, same.cells, same.settings, same.diff) == (True, [], [], [])
    shown = await bench.ask(ShowDiff, **about, a="1.0.0", b="1.1.1")
    assert "one = 11" in shown.html
    assert "Second" in shown.html


async def test_a_restore_is_a_new_version(bench: Bench, notebook: Notebook) -> None:
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    restored = await bench.ask(RestoreVersion, **about, version="1.0.0", change_message="back")
    assert (restored.notebook_version, restored.notebook_name) == ("1.2.0", "First")
    assert await export(bench, notebook) == await export(bench, notebook, "1.0.0")
    newest = (await bench.ask(ListVersions, **about)).versions[0]
    assert (newest.version, newest.restored_from, newest.change_message) == ("1.2.0", "1.0.0", "back")
    assert (await bench.rows(notebook.notebook_id))["content"] == 2
    again = await bench.ask(RestoreVersion, **about, version="1.0.0")
    assert again.notebook_version == "1.2.0"
    settings_alone = await bench.ask(UpdateNotebook, **about, patch={"notebookName": "Other"})
    assert settings_alone.notebook_version == "1.2.1"
    assert (await bench.ask(RestoreVersion, **about, version="1.2.0")).notebook_version == "1.2.2"
    with pytest.raises(Conflict):
        await bench.ask(RestoreVersion, **about, version="1.1.0", precondition=Precondition(etag=notebook.etag))


async def test_a_cell_comes_back_with_its_id_and_no_other_gets_it(bench: Bench, notebook: Notebook) -> None:
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    await bench.ask(DeleteCell, **about, cell_id="cell-002")
    restored = await bench.ask(RestoreVersion, **about, version="1.1.1")
    assert [cell.cell_id for cell in restored.cells] == ["cell-001", "cell-002"]
    cells = [{"cellType": "code", "content": "new"}]
    changed = await bench.ask(UpdateNotebook, **about, patch={"cells": cells})
    assert [cell.cell_id for cell in changed.cells] == ["cell-003"]


async def test_a_copy_is_a_notebook_of_its_own(bench: Bench, notebook: Notebook) -> None:
    integration = {"scheduleExecution": "0 2 * * *", "autoExecution": True, "outputFormat": "csv"}
    await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={"integration": integration})
    copy = await bench.ask(CopyNotebook, notebook_id=notebook.notebook_id, request=CopyRequest())
    assert copy.notebook_id != notebook.notebook_id
    assert (copy.notebook_name, copy.notebook_version) == ("Copy of Second", "1.0.0")
    assert (copy.integration.schedule_execution, copy.integration.auto_execution) == (None, False)
    assert copy.integration.output_format == "csv"
    assert await export(bench, copy) == await export(bench, notebook)
    request = CopyRequest.model_validate({"notebookName": "Mine", "version": "1.0.0"})
    key = Idempotency(key="once", route="copyNotebook", fingerprint="1")
    earlier = await bench.ask(CopyNotebook, notebook_id=notebook.notebook_id, request=request, idempotency=key)
    assert await export(bench, earlier) == await export(bench, notebook, "1.0.0")
    again = await bench.ask(CopyNotebook, notebook_id=notebook.notebook_id, request=request, idempotency=key)
    assert again.notebook_id == earlier.notebook_id
    await bench.ask(DeleteNotebook, notebook_id=notebook.notebook_id)
    assert (await bench.ask(GetNotebook, notebook_id=earlier.notebook_id)).notebook_name == "Mine"


async def test_a_copy_of_the_longest_name_has_a_valid_one(bench: Bench, notebook: Notebook) -> None:
    await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={"notebookName": "n" * 200})
    copy = await bench.ask(CopyNotebook, notebook_id=notebook.notebook_id, request=CopyRequest())
    assert len(copy.notebook_name) == 200
    assert copy.notebook_name.startswith("Copy of nnn")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE notebook_version SET name = 'another' WHERE notebook_id = $1",
        "UPDATE content SET body = '' WHERE notebook_id = $1",
    ],
)
async def test_the_database_itself_refuses_to_change_history(
    notebook: Notebook, connection: asyncpg.Connection, statement: str
) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="holds history"):
        await connection.execute(statement, notebook.notebook_id)


async def test_the_content_address_is_that_of_the_bytes(
    bench: Bench, notebook: Notebook, connection: asyncpg.Connection
) -> None:
    rows = await connection.fetch(
        "SELECT encode(sha256, 'hex') AS address, encode(sha256(body || '\\x00'::bytea), 'hex') AS computed "
        "FROM content WHERE notebook_id = $1",
        notebook.notebook_id,
    )
    assert len(rows) == 2
    assert all(row["address"] == row["computed"] for row in rows)
    addresses = {
        line.content_sha256 for line in (await bench.ask(ListVersions, notebook_id=notebook.notebook_id)).versions
    }
    assert addresses == {row["address"] for row in rows}
    assert orjson.dumps(await export(bench, notebook, "1.1.1")) == orjson.dumps(await export(bench, notebook, "1.1.0"))
