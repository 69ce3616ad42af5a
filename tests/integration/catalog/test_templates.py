"""Templates: listed, read, made from notebooks and begun with, against a real database."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contracts import templates
from shared.contracts.notebooks import CreateNotebook, DeleteNotebook, ExportNotebook, NotebookDraft, UpdateNotebook
from shared.errors import Conflict, Invalid, NotFound
from tests.integration.catalog.conftest import Bench

CELLS: list[dict[str, Any]] = [
    {"cellId": "limits", "cellType": "code", "content": "limit: int = 3  # how many", "tags": ["parameters"]},
    {"cellId": "cell-004", "cellType": "markdown", "content": "# Mine", "metadata": {"mine": {"kept": True}}},
    {"cellType": "code", "content": "print(limit)"},
]


async def notebook(bench: Bench, **members: Any) -> Any:
    draft = {"notebookName": "A review", "initialCells": CELLS, "environment": {"packages": ["pandas"]}, **members}
    return await bench.ask(CreateNotebook, draft=NotebookDraft.model_validate(draft))


async def add(bench: Bench, notebook_id: Any, name: str = "review", **members: Any) -> templates.Template:
    draft = templates.TemplateDraft(template_name=name, notebook_id=notebook_id, **members)
    made: templates.Template = await bench.ask(templates.AddTemplate, draft=draft)
    return made


async def test_the_products_own_come_first_and_can_be_read(bench: Bench) -> None:
    page = await bench.ask(templates.ListTemplates)
    names = [item.template_name for item in page.items]
    assert names == [
        "anomaly_detection", "blank", "customer_segmentation", "process_mining_starter", "throughput_prediction",
    ]  # fmt: skip
    assert {item.origin for item in page.items} == {"built_in"}
    starter = await bench.ask(templates.GetTemplate, template_name="process_mining_starter")
    assert starter.cells[0].content.startswith("# Process mining starter")
    assert starter.parameters["properties"]["analysis_type"]["enum"][0] == "full_analysis"
    assert "Percent format" not in starter.description
    with pytest.raises(NotFound):
        await bench.ask(templates.GetTemplate, template_name="no-such")


async def test_pages_by_cursor_neither_skip_nor_repeat(bench: Bench) -> None:
    source = await notebook(bench)
    for name in ("b", "d"):
        await add(bench, source.notebook_id, name)
    seen, cursor = [], None
    while True:
        page = await bench.ask(templates.ListTemplates, page_size=3, cursor=cursor)
        seen += [item.template_name for item in page.items]
        assert page.has_next_page == (page.next_cursor is not None)
        cursor = page.next_cursor
        if cursor is None:
            break
        if len(seen) == 3:
            await add(bench, source.notebook_id, "a")  # shifts page numbers
    assert seen[5:] == ["a", "b", "d"]
    assert len(set(seen)) == len(seen)
    by_number = await bench.ask(templates.ListTemplates, page_size=3, page=2)
    assert [item.template_name for item in by_number.items] == seen[3:6]
    with pytest.raises(Invalid):
        await bench.ask(templates.ListTemplates, cursor="nonsense")


async def test_a_notebook_becomes_a_template_that_no_later_change_reaches(bench: Bench) -> None:
    source = await notebook(bench)
    made = await add(bench, source.notebook_id, description="What we do each month")
    assert (made.origin, made.description, made.cell_count) == ("project", "What we do each month", 3)
    assert made.parameters["properties"]["limit"]["type"] == "integer"
    patch = {"cells": [{"cellType": "code", "content": "other"}]}
    await bench.ask(UpdateNotebook, notebook_id=source.notebook_id, patch=patch)
    await bench.ask(DeleteNotebook, notebook_id=source.notebook_id)

    begun = await bench.ask(CreateNotebook, draft=NotebookDraft(notebook_name="Begun", template="review"))
    assert [cell.content for cell in begun.cells] == [cell["content"] for cell in CELLS]
    assert [cell.cell_id for cell in begun.cells] == ["limits", "cell-004", "cell-005"]
    assert begun.cells[1].metadata == {"mine": {"kept": True}}
    assert begun.environment.packages == ["pandas"]
    listed = await bench.ask(templates.ListTemplates, page_size=100)
    assert listed.items[-1].template_name == "review"
    assert listed.total_count == 6


async def test_ids_that_the_initial_cells_bring_are_theirs(bench: Bench) -> None:
    await add(bench, (await notebook(bench)).notebook_id)
    draft = {
        "notebookName": "Begun",
        "template": "review",
        "initialCells": [{"cellId": "limits", "cellType": "code", "content": "1"}],
    }
    begun = await bench.ask(CreateNotebook, draft=NotebookDraft.model_validate(draft))
    ids = [cell.cell_id for cell in begun.cells]
    assert ids[-1] == "limits"
    assert len(set(ids)) == 4
    exported = await bench.ask(ExportNotebook, notebook_id=begun.notebook_id)
    assert [cell["id"] for cell in exported.content["cells"]] == ids


async def test_a_version_can_be_chosen(bench: Bench) -> None:
    source = await notebook(bench)
    patch = {"cells": [{"cellType": "code", "content": "newer"}]}
    await bench.ask(UpdateNotebook, notebook_id=source.notebook_id, patch=patch)
    assert (await add(bench, source.notebook_id, "first", version="1.0.0")).cell_count == 3
    assert (await add(bench, source.notebook_id, "newest")).cell_count == 1
    for version in ("9.9.9", "soon"):
        with pytest.raises(Invalid) as raised:
            await add(bench, source.notebook_id, "none", version=version)
        assert raised.value.faults[0].path == "version"


async def test_names_are_taken_once_and_the_products_own_stay(bench: Bench) -> None:
    source = await notebook(bench)
    await add(bench, source.notebook_id)
    for name in ("review", "blank"):
        with pytest.raises(Conflict):
            await add(bench, source.notebook_id, name)
    with pytest.raises(Conflict):
        await bench.ask(templates.RemoveTemplate, template_name="blank")
    await bench.ask(templates.RemoveTemplate, template_name="review")
    with pytest.raises(NotFound):
        await bench.ask(templates.RemoveTemplate, template_name="review")
    await add(bench, source.notebook_id)


async def test_another_project_sees_none_of_it(bench: Bench) -> None:
    source = await notebook(bench)
    await add(bench, source.notebook_id)
    other = bench.scope.model_copy(update={"project_id": source.notebook_id})
    listed = await bench.ask(templates.ListTemplates, scope=other)
    assert "review" not in [item.template_name for item in listed.items]
    with pytest.raises(NotFound):
        await bench.ask(templates.GetTemplate, scope=other, template_name="review")
    draft = templates.TemplateDraft(template_name="stolen", notebook_id=source.notebook_id)
    with pytest.raises(NotFound):
        await bench.ask(templates.AddTemplate, scope=other, draft=draft)
    with pytest.raises(Invalid) as raised:
        await bench.ask(CreateNotebook, scope=other, draft=NotebookDraft(notebook_name="x", template="review"))
    assert raised.value.faults[0].path == "template"


async def test_a_template_in_r_is_for_r(bench: Bench) -> None:
    source = await notebook(bench, kernelType="r")
    assert (await add(bench, source.notebook_id)).kernel_type == "r"
    with pytest.raises(Invalid) as raised:
        await bench.ask(CreateNotebook, draft=NotebookDraft(notebook_name="x", template="review"))
    assert raised.value.faults[0].message == "is written for r and does not suit kernelType python3"
    draft = NotebookDraft(notebook_name="x", template="review", kernel_type="r")
    assert (await bench.ask(CreateNotebook, draft=draft)).kernel_type == "r"
