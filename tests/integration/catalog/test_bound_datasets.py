"""Which notebooks keep a dataset from being deleted, and that a rebuild finds every notebook."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from services.catalog import rebuilding
from shared.contracts.notebooks import CheckDatasetUnbound, CreateNotebook, NotebookDraft, UpdateNotebook
from shared.errors import Conflict
from tests.integration.catalog.conftest import Bench


async def bind(bench: Bench, name: str, **integration: Any) -> Any:
    draft = NotebookDraft.model_validate({"notebookName": name, "integration": integration})
    return await bench.ask(CreateNotebook, draft=draft)


async def test_a_bound_dataset(bench: Bench) -> None:
    dataset, other = uuid4(), uuid4()
    bench.datasets.existing |= {dataset, other}
    await bench.ask(CheckDatasetUnbound, dataset_id=dataset)
    first = await bind(bench, "First", datasetBinding=str(dataset).upper())
    await bind(bench, "Second", datasetBinding=str(dataset))
    with pytest.raises(Conflict, match="'First', 'Second'"):
        await bench.ask(CheckDatasetUnbound, dataset_id=dataset)
    patch = {"integration": {"datasetBinding": str(other)}}
    await bench.ask(UpdateNotebook, notebook_id=first.notebook_id, patch=patch)
    with pytest.raises(Conflict, match="to 'Second';"):
        await bench.ask(CheckDatasetUnbound, dataset_id=dataset)


async def test_what_parameters_say_binds_nothing(bench: Bench) -> None:
    dataset = uuid4()
    said = {"datasetBinding": str(dataset), "odd": "\x00", "text": f'"datasetBinding":"{dataset}"'}
    await bind(bench, "Says so", scheduleParameters=said)
    await bench.ask(CheckDatasetUnbound, dataset_id=dataset)


async def test_batches_hold_every_notebook_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "BATCH", 2)
    made = [(await bind(bench, str(number))).notebook_id for number in range(5)]
    found = [ids async for scope, ids in rebuilding._batches(bench.app.database) if scope == bench.scope]
    assert [len(ids) for ids in found] == [2, 2, 1]
    assert [notebook_id for ids in found for notebook_id in ids] == made
