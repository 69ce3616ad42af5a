"""Updates, versions, preconditions and concurrent writers, against a real database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest

from services.catalog.turns import Turns
from shared.contracts.notebooks import (
    AddCell,
    CellDraft,
    CreateNotebook,
    DeleteCell,
    GetNotebook,
    Notebook,
    NotebookDraft,
    Precondition,
    UpdateCell,
    UpdateNotebook,
)
from shared.errors import Conflict, DeadlineExceeded, Invalid, NotFound, TooLarge
from tests.integration.catalog.conftest import Bench


@pytest.fixture
async def notebook(bench: Bench) -> Notebook:
    cells = [
        {"cellType": "markdown", "content": "# One", "metadata": {"kept": 1.0}},
        {"cellType": "code", "content": "two = 2", "tags": ["parameters"]},
        {"cellType": "code", "content": "three"},
    ]
    draft = {"notebookName": "First", "initialCells": cells, "environment": {"packages": ["pandas"]}}
    created: Notebook = await bench.ask(CreateNotebook, draft=NotebookDraft.model_validate(draft))
    return created


def as_client_sees(notebook: Notebook) -> dict[str, Any]:
    decoded: dict[str, Any] = orjson.loads(notebook.model_dump_json(by_alias=True))
    return decoded


async def put(bench: Bench, notebook: Notebook, **patch: Any) -> Notebook:
    changed: Notebook = await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch=patch)
    return changed


async def test_get_edit_put_works(bench: Bench, notebook: Notebook) -> None:
    body = as_client_sees(await bench.ask(GetNotebook, notebook_id=notebook.notebook_id))
    same = await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch=body)
    assert (same.notebook_version, same.date_modified, same.etag) == ("1.0.0", notebook.date_modified, notebook.etag)
    body["cells"][2]["content"] = "three = 3"
    body["cells"][2]["executionCount"] = 7
    changed = await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch=body)
    assert changed.notebook_version == "1.1.0"
    assert [cell.cell_id for cell in changed.cells] == ["cell-001", "cell-002", "cell-003"]
    assert changed.cells[2].content == "three = 3"
    assert changed.cells[2].execution_count is None
    assert changed.cells[2].last_modified == changed.date_modified
    assert changed.cells[0].last_modified == notebook.date_modified
    assert changed.cells[0].metadata == {"kept": 1.0}
    assert changed.etag != notebook.etag
    assert changed.date_modified > notebook.date_modified
    with pytest.raises(Conflict) as raised:  # the body still has the first etag and dateModified
        await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch={**body, "notebookName": "Late"})
    assert raised.value.extra["dateModified"] == as_client_sees(changed)["dateModified"]


async def test_settings_merge_member_by_member(bench: Bench, notebook: Notebook) -> None:
    first = await put(bench, notebook, integration={"enrichmentMode": True, "scheduleExecution": "0 2 * * *"})
    assert first.notebook_version == "1.0.1"
    second = await put(bench, first, integration={"outputFormat": "csv"}, notebookDescription="What it does")
    assert second.notebook_version == "1.0.2"
    assert second.integration.enrichment_mode is True
    assert second.integration.schedule_execution == "0 2 * * *"
    assert second.integration.output_format == "csv"
    assert second.notebook_description == "What it does"
    assert second.environment.packages == ["pandas"]
    third = await put(bench, second, integration={"scheduleExecution": None}, environment={"packages": ["numpy"]})
    assert third.integration.schedule_execution is None
    assert third.integration.output_format == "csv"
    assert third.environment.packages == ["numpy"]
    fourth = await put(bench, third, integration=None, environment={"packages": None}, notebookDescription=None)
    assert fourth.integration.output_format == "enriched_dataframe"
    assert fourth.environment.packages == []
    assert fourth.notebook_description is None
    assert fourth.notebook_version == "1.0.4"


async def test_cells_and_settings_together_raise_the_minor_number(bench: Bench, notebook: Notebook) -> None:
    await put(bench, notebook, notebookName="Second")
    changed = await put(bench, notebook, notebookName="Third", cells=[])
    assert changed.notebook_version == "1.1.0"
    assert changed.cells == []


async def test_null_for_the_cells_leaves_them_as_they_are(bench: Bench, notebook: Notebook) -> None:
    kept = await put(bench, notebook, cells=None)
    assert (kept.notebook_version, kept.cells) == (notebook.notebook_version, notebook.cells)
    assert notebook.cells


async def test_ids_are_never_given_twice(bench: Bench, notebook: Notebook) -> None:
    emptied = await put(bench, notebook, cells=[])
    filled = await put(bench, emptied, cells=[{"cellType": "code", "content": "new"}, {"cellType": "raw"}])
    assert [cell.cell_id for cell in filled.cells] == ["cell-004", "cell-005"]
    own = await put(bench, filled, cells=[{"cellType": "code", "cellId": "cell-010"}, {"cellType": "code"}])
    assert [cell.cell_id for cell in own.cells] == ["cell-010", "cell-011"]
    await bench.ask(DeleteCell, notebook_id=notebook.notebook_id, cell_id="cell-011")
    added = await bench.ask(AddCell, notebook_id=notebook.notebook_id, cell=CellDraft(cell_type="code", content="x"))
    assert [cell.cell_id for cell in added.cells] == ["cell-010", "cell-012"]


async def test_cells_are_replaced_whole(bench: Bench, notebook: Notebook) -> None:
    """`notebook` has a cell with metadata and one with a tag."""
    cells = [
        {"cellId": "cell-002", "cellType": "code", "content": "two = 2"},
        {"cellId": "cell-001", "cellType": "markdown", "content": "# One", "metadata": {"tags": ["new"]}},
    ]
    changed = await put(bench, notebook, cells=cells)
    assert [(cell.cell_id, cell.tags, cell.metadata) for cell in changed.cells] == [
        ("cell-002", [], {}),
        ("cell-001", ["new"], {}),
    ]
    with pytest.raises(Invalid) as raised:
        await put(bench, notebook, cells=[{"cellId": "cell-002", "cellType": "code"}])
    assert [fault.path for fault in raised.value.faults] == ["cells[0].content"]


async def test_every_fault_is_named_at_once(bench: Bench, notebook: Notebook) -> None:
    patch = {
        "notebookName": "",
        "kernelType": "cobol",
        "notebook_description": "typo",
        "integration": {"enrichmentMod": None, "outputFormat": "xml", "scheduleTimeZone": 5},
        "environment": {"packages": "pandas"},
        "cells": [{"cellType": "image"}, {"cellType": "code", "cellid": "x"}, 5, {"cellId": "no spaces"}],
    }
    with pytest.raises(Invalid) as raised:
        await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch=patch)
    assert {fault.path for fault in raised.value.faults} == {
        "notebookName",
        "kernelType",
        "notebook_description",
        "integration.enrichmentMod",
        "integration.outputFormat",
        "integration.scheduleTimeZone",
        "environment.packages",
        "cells[0].cellType",
        "cells[1].cellid",
        "cells[2]",
        "cells[3].cellType",
    }
    assert (await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)).notebook_version == "1.0.0"


@pytest.mark.parametrize(
    ("cells", "path"),
    [
        ([{"cellType": "code", "cellId": "a b"}], "cells[0].cellId"),
        ([{"cellType": "code", "cellId": "a"}, {"cellType": "code", "cellId": "a"}], "cells[1].cellId"),
        ([{"cellType": "code", "tags": ["a", "a"]}], "cells[0].tags"),
        ([{"cellType": "code", "tags": ["a,b"]}], "cells[0].tags[0]"),
        ([{"cellType": "code", "metadata": {"scrolled": "up"}}], "cells[0].metadata.scrolled"),
        ("text", "cells"),
    ],
)
async def test_faulty_cells(bench: Bench, notebook: Notebook, cells: Any, path: str) -> None:
    with pytest.raises(Invalid) as raised:
        await put(bench, notebook, cells=cells)
    assert [fault.path for fault in raised.value.faults] == [path]


async def test_a_cell_over_the_limit_is_too_large(bench: Bench, notebook: Notebook) -> None:
    with pytest.raises(TooLarge, match=r"cells\[0\]"):
        await put(bench, notebook, cells=[{"cellType": "code", "content": "x" * 2_000_001}])


async def test_a_new_binding_must_exist_and_an_old_one_may_be_gone(bench: Bench, notebook: Notebook) -> None:
    dataset_id = uuid4()
    bench.datasets.existing.add(dataset_id)
    bound = await put(bench, notebook, integration={"datasetBinding": str(dataset_id)})
    bench.datasets.existing.clear()
    assert (await put(bench, bound, integration={"datasetBinding": str(dataset_id)})).notebook_version == "1.0.1"
    with pytest.raises(Invalid) as raised:
        await put(bench, bound, integration={"datasetBinding": str(uuid4())}, notebookName="")
    assert {fault.path for fault in raised.value.faults} >= {"integration.datasetBinding"}
    unbound = await put(bench, bound, integration={"datasetBinding": ""})
    assert unbound.integration.dataset_binding is None


async def test_preconditions(bench: Bench, notebook: Notebook) -> None:
    changed = await put(bench, notebook, notebookName="Second")
    for stale in (Precondition(etag=notebook.etag), Precondition(date_modified=notebook.date_modified)):
        with pytest.raises(Conflict):
            await bench.ask(
                UpdateNotebook, notebook_id=notebook.notebook_id, patch={"notebookName": "Third"}, precondition=stale
            )
        with pytest.raises(Conflict):
            await bench.ask(DeleteCell, notebook_id=notebook.notebook_id, cell_id="cell-001", precondition=stale)
    fresh = Precondition(etag=changed.etag, date_modified=changed.date_modified)
    third = await bench.ask(
        UpdateNotebook, notebook_id=notebook.notebook_id, patch={"notebookName": "Third"}, precondition=fresh
    )
    assert third.notebook_version == "1.0.2"
    with pytest.raises(Invalid) as raised:
        await put(bench, notebook, etag=5, dateModified="yesterday")
    assert {fault.path for fault in raised.value.faults} == {"etag", "dateModified"}
    assert (await put(bench, notebook, etag="", dateModified=None)).notebook_version == "1.0.2"


async def test_one_cell(bench: Bench, notebook: Notebook) -> None:
    patch = {"content": "two = 22  # a number", "metadata": {"a": {"b": 1}}, "executionStatus": "ignored"}
    changed = await bench.ask(UpdateCell, notebook_id=notebook.notebook_id, cell_id="cell-002", patch=patch)
    assert changed.notebook_version == "1.1.0"
    assert (changed.cells[1].content, changed.cells[1].tags) == ("two = 22  # a number", ["parameters"])
    assert changed.parameters["properties"]["two"] == {"type": "integer", "default": 22, "description": "a number"}
    untag = {"metadata": {"a": {"c": 2}}, "tags": None}
    merged = await bench.ask(UpdateCell, notebook_id=notebook.notebook_id, cell_id="cell-002", patch=untag)
    assert merged.cells[1].metadata == {"a": {"b": 1, "c": 2}}
    assert merged.cells[1].tags == []
    assert merged.parameters["properties"] == {}
    smaller = await bench.ask(DeleteCell, notebook_id=notebook.notebook_id, cell_id="cell-001")
    assert smaller.notebook_version == "1.3.0"
    assert [cell.cell_id for cell in smaller.cells] == ["cell-002", "cell-003"]
    with pytest.raises(NotFound):
        await bench.ask(UpdateCell, notebook_id=notebook.notebook_id, cell_id="cell-001", patch={})
    with pytest.raises(NotFound):
        await bench.ask(DeleteCell, notebook_id=notebook.notebook_id, cell_id="cell-001")
    with pytest.raises(Invalid) as raised:
        await bench.ask(
            UpdateCell,
            notebook_id=notebook.notebook_id,
            cell_id="cell-002",
            patch={"cellId": "x", "cellType": None, "colour": 1},
        )
    assert {fault.path for fault in raised.value.faults} == {"cellId", "cellType", "colour"}


async def test_a_hundred_concurrent_writers_lose_nothing(bench: Bench, notebook: Notebook) -> None:
    async def write(number: int) -> None:
        cell = CellDraft(cell_type="code", content=f"writer {number}")
        await bench.ask(AddCell, notebook_id=notebook.notebook_id, cell=cell)

    await asyncio.gather(*(write(number) for number in range(100)))
    after = await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)
    assert after.notebook_version == "1.100.0"
    assert sorted(cell.content for cell in after.cells[3:]) == sorted(f"writer {number}" for number in range(100))
    assert len({cell.cell_id for cell in after.cells}) == 103


async def test_writers_at_two_replicas_lose_nothing(bench: Bench, notebook: Notebook) -> None:
    """Each replica has turns of its own; between them only the row's lock stands."""
    other = Bench(replace(bench.app, turns=Turns()), bench.datasets, bench.sent)
    other.scope = bench.scope

    async def write(number: int) -> None:
        patch = {"environment": {"packages": [f"package-{number}"]}, "notebookDescription": str(number)}
        replica = bench if number % 2 else other
        await replica.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch=patch)

    await asyncio.gather(*(write(number) for number in range(20)))
    after = await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)
    assert after.notebook_version == "1.0.20"
    assert after.environment.packages == [f"package-{after.notebook_description}"]
    assert (await bench.rows(notebook.notebook_id))["notebook_version"] == 21


async def test_of_writers_with_one_belief_one_wins(bench: Bench, notebook: Notebook) -> None:
    async def write(number: int) -> str:
        try:
            changed = await bench.ask(
                UpdateNotebook,
                notebook_id=notebook.notebook_id,
                patch={"notebookName": f"writer {number}"},
                precondition=Precondition(etag=notebook.etag),
            )
        except Conflict:
            return "conflict"
        return str(changed.notebook_name)

    outcomes = await asyncio.gather(*(write(number) for number in range(10)))
    (winner,) = [outcome for outcome in outcomes if outcome != "conflict"]
    after = await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)
    assert (after.notebook_name, after.notebook_version) == (winner, "1.0.1")


async def test_a_writer_does_not_wait_longer_than_its_caller(bench: Bench, notebook: Notebook) -> None:
    async with bench.app.turns.of(notebook.notebook_id, None):
        with pytest.raises(DeadlineExceeded):
            async with bench.app.turns.of(notebook.notebook_id, datetime.now(UTC) + timedelta(milliseconds=20)):
                pytest.fail("two writers had the same turn")
    await put(bench, notebook, notebookName="Second")


async def test_versions_keep_who_when_and_why_and_contents_once(
    bench: Bench, notebook: Notebook, connection: asyncpg.Connection
) -> None:
    before = as_client_sees(notebook)["cells"]
    await bench.ask(
        UpdateNotebook, notebook_id=notebook.notebook_id, patch={"cells": []}, change_message="Start over\x00"
    )
    await put(bench, notebook, cells=before)
    await put(bench, notebook, notebookName="Renamed")
    versions = await connection.fetch(
        "SELECT version, ordinal, created_by, change_message, content_sha256 FROM notebook_version "
        "WHERE notebook_id = $1 ORDER BY ordinal",
        notebook.notebook_id,
    )
    assert [row["version"] for row in versions] == ["1.0.0", "1.1.0", "1.2.0", "1.2.1"]
    assert versions[1]["change_message"] == "Start over"
    assert {row["created_by"] for row in versions} == {"anna@example.org"}
    assert versions[0]["content_sha256"] == versions[2]["content_sha256"]
    assert (await bench.rows(notebook.notebook_id))["content"] == 2
    facts = await bench.sent.of(notebook.notebook_id, 4)
    assert [fact.type for fact in facts] == ["notebook.created", *["notebook.updated"] * 3]


async def test_a_change_that_fails_leaves_nothing_behind(bench: Bench, notebook: Notebook) -> None:
    rows = await bench.rows(notebook.notebook_id)
    with pytest.raises(Invalid):
        await put(bench, notebook, cells=[{"cellType": "code", "tags": ["a,b"]}])
    assert await bench.rows(notebook.notebook_id) == rows


async def test_nesting_without_end_is_refused(bench: Bench, notebook: Notebook) -> None:
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    with pytest.raises(Invalid, match="nested"):
        await put(bench, notebook, integration={"scheduleParameters": {"x": deep}})
