"""Creating notebooks and reading them back, against a real database."""

from __future__ import annotations

from uuid import uuid4

import nbformat
import pytest

from shared.contracts.base import Idempotency, Scope
from shared.contracts.notebooks import (
    CheckNotebook,
    CreateNotebook,
    ExportNotebook,
    GetNotebook,
    NotebookDraft,
    PinNotebook,
    Precondition,
)
from shared.errors import Conflict, Invalid, NotFound
from tests.integration.catalog.conftest import Bench


def draft(**members: object) -> NotebookDraft:
    return NotebookDraft.model_validate({"notebookName": "An analysis", **members})


async def test_only_the_name_is_required(bench: Bench) -> None:
    notebook = await bench.ask(CreateNotebook, draft=draft())
    assert notebook.notebook_version == "1.0.0"
    assert notebook.kernel_type == "python3"
    assert notebook.status == "Ready"
    assert notebook.cells == []
    assert notebook.integration.enrichment_mode is False
    assert notebook.integration.output_format == "enriched_dataframe"
    assert notebook.integration.auto_execution is False
    assert notebook.session is not None
    assert notebook.session.state == "NotStarted"
    assert notebook.created_by == "anna@example.org"
    assert (notebook.execution_count, notebook.last_execution_date) == (0, None)
    again = await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)
    assert again == notebook.model_copy(update={"session": None})


async def test_template_cells_come_before_the_initial_ones(bench: Bench) -> None:
    cells = [{"cellType": "markdown", "content": "# Mine"}, {"cellType": "code", "content": "1 + 1", "tags": ["sum"]}]
    notebook = await bench.ask(CreateNotebook, draft=draft(template="process_mining_starter", initialCells=cells))
    ids = [cell.cell_id for cell in notebook.cells]
    assert ids == [f"cell-{number:03d}" for number in range(1, len(ids) + 1)]
    assert [cell.content for cell in notebook.cells[-2:]] == ["# Mine", "1 + 1"]
    assert notebook.cells[-1].tags == ["sum"]
    assert notebook.cells[0].content.startswith("# Process mining starter")
    parameters = notebook.parameters["properties"]
    assert {"analysis_period", "include_weekends", "analysis_type", "time_window", "ml_models"} <= set(parameters)
    assert parameters["include_weekends"]["type"] == "boolean"
    assert parameters["analysis_type"]["enum"] == ["full_analysis", "performance", "variants"]


async def test_an_unknown_template_names_those_that_exist(bench: Bench) -> None:
    with pytest.raises(Invalid) as raised:
        await bench.ask(CreateNotebook, draft=draft(template="nothing_like_it"))
    (fault,) = raised.value.faults
    assert fault.path == "template"
    assert "process_mining_starter" in fault.message
    assert "blank" in fault.message


async def test_every_fault_is_named_at_once(bench: Bench) -> None:
    integration = {
        "datasetBinding": str(uuid4()),
        "scheduleExecution": "61 2 * * *",
        "scheduleTimeZone": "Mars/Olympus",
    }
    cells = [{"cellType": "code", "cellId": "a"}, {"cellType": "code", "cellId": "a"}]
    with pytest.raises(Invalid) as raised:
        await bench.ask(CreateNotebook, draft=draft(template="none", integration=integration, initialCells=cells))
    assert {fault.path for fault in raised.value.faults} == {
        "template",
        "integration.datasetBinding",
        "integration.scheduleExecution",
        "integration.scheduleTimeZone",
        "initialCells[1].cellId",
    }


async def test_a_bound_dataset_must_exist(bench: Bench) -> None:
    dataset_id = uuid4()
    bench.datasets.existing.add(dataset_id)
    notebook = await bench.ask(CreateNotebook, draft=draft(integration={"datasetBinding": str(dataset_id)}))
    assert notebook.integration.dataset_binding == dataset_id


async def test_the_empty_string_binds_nothing(bench: Bench) -> None:
    notebook = await bench.ask(CreateNotebook, draft=draft(integration={"datasetBinding": ""}))
    assert notebook.integration.dataset_binding is None


async def test_initial_cells_that_nbformat_refuses_are_named(bench: Bench) -> None:
    cells = [{"cellType": "code", "content": "1"}, {"cellType": "code", "metadata": {"collapsed": "yes"}}]
    with pytest.raises(Invalid) as raised:
        await bench.ask(CreateNotebook, draft=draft(template="blank", initialCells=cells))
    assert [fault.path for fault in raised.value.faults] == ["initialCells[1].metadata.collapsed"]


async def test_asking_again_gives_the_first_answer(bench: Bench) -> None:
    identity = uuid4()
    first = await bench.ask(CreateNotebook, draft=draft(), command_id=identity)
    assert await bench.ask(CreateNotebook, draft=draft(), command_id=identity) == first
    key = Idempotency(key="k", route="POST notebook", fingerprint="f")
    second = await bench.ask(CreateNotebook, draft=draft(), idempotency=key)
    assert second.notebook_id != first.notebook_id
    assert await bench.ask(CreateNotebook, draft=draft(), idempotency=key) == second
    with pytest.raises(Conflict):
        await bench.ask(CreateNotebook, draft=draft(), idempotency=key.model_copy(update={"fingerprint": "g"}))


async def test_another_tenants_notebook_does_not_exist(bench: Bench) -> None:
    notebook = await bench.ask(CreateNotebook, draft=draft())
    elsewhere = Scope(tenant_id=uuid4(), project_id=bench.scope.project_id)
    for command in (GetNotebook, PinNotebook, ExportNotebook, CheckNotebook):
        with pytest.raises(NotFound):
            await bench.ask(command, scope=elsewhere, notebook_id=notebook.notebook_id)


async def test_creation_is_announced(bench: Bench) -> None:
    notebook = await bench.ask(CreateNotebook, draft=draft())
    (fact,) = await bench.sent.of(notebook.notebook_id, 1)
    assert fact.type == "notebook.created"
    assert fact.data["notebookVersion"] == "1.0.0"
    assert fact.tenantid == bench.scope.tenant_id


async def test_text_that_postgresql_refuses_is_kept(bench: Bench) -> None:
    cells = [{"cellType": "code", "content": "a\x00b", "metadata": {"note": "\x00"}}]
    integration = {"scheduleParameters": {"odd": "\x00", "deep": [[1e308]]}}
    notebook = await bench.ask(CreateNotebook, draft=draft(initialCells=cells, integration=integration))
    assert notebook.cells[0].content == "a\x00b"
    assert notebook.cells[0].metadata == {"note": "\x00"}
    assert notebook.integration.schedule_parameters == {"odd": "\x00", "deep": [[1e308]]}


@pytest.mark.parametrize(("kernel", "spec"), [("python3", "python3"), ("r", "ir"), ("scala", "apache_toree_scala")])
async def test_an_export_is_valid_and_names_its_kernel(bench: Bench, kernel: str, spec: str) -> None:
    cells = [{"cellType": "raw", "content": "x"}, {"cellType": "code", "content": "1", "tags": ["t"]}]
    notebook = await bench.ask(
        CreateNotebook, draft=draft(notebookName='A/B: "c"', kernelType=kernel, template="blank", initialCells=cells)
    )
    exported = await bench.ask(ExportNotebook, notebook_id=notebook.notebook_id)
    nbformat.validate(nbformat.from_dict(exported.content), version=4, version_minor=5)
    assert exported.content["metadata"]["kernelspec"]["name"] == spec
    assert exported.file_name == "A_B_ _c_.ipynb"


async def test_a_pin_has_all_that_a_run_needs(bench: Bench) -> None:
    notebook = await bench.ask(
        CreateNotebook,
        draft=draft(template="process_mining_starter", environment={"packages": ["pandas"]}),
    )
    pinned = await bench.ask(PinNotebook, notebook_id=notebook.notebook_id)
    assert pinned.version == "1.0.0"
    assert pinned.environment.packages == ["pandas"]
    assert pinned.parameters == notebook.parameters
    assert [cell["id"] for cell in pinned.content["cells"]] == [cell.cell_id for cell in notebook.cells]
    assert all(cell.get("outputs", []) == [] for cell in pinned.content["cells"])


@pytest.mark.parametrize("version", ["9.9.9", "latest", "1.0", "\x00", ""])
async def test_a_version_that_there_is_not(bench: Bench, version: str) -> None:
    notebook = await bench.ask(CreateNotebook, draft=draft())
    with pytest.raises(Invalid) as raised:
        await bench.ask(PinNotebook, notebook_id=notebook.notebook_id, version=version)
    assert raised.value.faults[0].path == "version"


async def test_a_check_answers_for_existence_and_precondition(bench: Bench) -> None:
    notebook = await bench.ask(CreateNotebook, draft=draft())
    for fine in (
        Precondition(),
        Precondition(etag=notebook.etag),
        Precondition(etag=f'"{notebook.etag}"'),
        Precondition(etag="*"),
        Precondition(date_modified=notebook.date_modified),
    ):
        await bench.ask(CheckNotebook, notebook_id=notebook.notebook_id, precondition=fine)
    with pytest.raises(Conflict) as raised:
        await bench.ask(CheckNotebook, notebook_id=notebook.notebook_id, precondition=Precondition(etag="other"))
    assert raised.value.extra["dateModified"].endswith("Z")
