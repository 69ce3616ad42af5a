"""Uploaded files, against a real database: what is kept, and that a refused file leaves nothing."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import nbformat
import pytest

from shared.contracts.notebooks import (
    ExportNotebook,
    GetNotebook,
    ImportNotebook,
    Integration,
    ListNotebooks,
    PinNotebook,
    UpdateNotebook,
)
from shared.errors import Invalid, TooLarge
from tests.integration.catalog.conftest import Bench

FILE: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "odd": {"kept": [1, None, "\x00"]}},
    "cells": [
        {"cell_type": "markdown", "id": "intro", "metadata": {}, "source": "# Title"},
        {
            "cell_type": "code",
            "id": "run",
            "metadata": {"tags": ["parameters"]},
            "source": "period = '2024-01'  # the month\r\n",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "done"}],
            "execution_count": 2,
        },
    ],
}


async def upload(bench: Bench, content: Any, **members: Any) -> Any:
    text = content if isinstance(content, str) else json.dumps(content)
    members = {"file_name": "analysis.ipynb", "integration": Integration(), **members}
    return await bench.ask(ImportNotebook, file=text, **members)


async def test_a_round_trip_loses_nothing(bench: Bench) -> None:
    notebook = await upload(bench, FILE)
    assert notebook.notebook_name == "analysis"
    assert notebook.parsing is not None
    assert notebook.parsing.model_dump() == {
        "nbformat": "4.5",
        "cell_count": 2,
        "code_cells": 1,
        "markdown_cells": 1,
        "raw_cells": 0,
        "warnings": [],
    }
    assert [cell.cell_id for cell in notebook.cells] == ["intro", "run"]
    assert notebook.cells[1].execution_count is None
    assert notebook.parameters["properties"]["period"] == {
        "type": "string",
        "default": "2024-01",
        "description": "the month",
    }
    assert (await bench.ask(ExportNotebook, notebook_id=notebook.notebook_id)).content == FILE
    pinned = (await bench.ask(PinNotebook, notebook_id=notebook.notebook_id)).content
    assert pinned["cells"][1]["outputs"] == []
    assert pinned["metadata"] == FILE["metadata"]
    assert (await bench.ask(GetNotebook, notebook_id=notebook.notebook_id)).parsing is None


async def test_an_older_version_stays_as_it_was(bench: Bench) -> None:
    notebook = await upload(bench, FILE)
    cells = [{"cellId": "run", "cellType": "code", "content": "changed = 1"}]
    patch = {"cells": cells, "kernelType": "r"}
    await bench.ask(UpdateNotebook, notebook_id=notebook.notebook_id, patch=patch)
    now = (await bench.ask(ExportNotebook, notebook_id=notebook.notebook_id)).content
    assert now["cells"][0]["outputs"] == []
    assert now["metadata"]["kernelspec"]["name"] == "ir"
    assert now["metadata"]["odd"] == FILE["metadata"]["odd"]
    nbformat.validate(nbformat.from_dict(now), version=4, version_minor=5)
    first = await bench.ask(ExportNotebook, notebook_id=notebook.notebook_id, version="1.0.0")
    assert first.content == FILE
    pinned = await bench.ask(PinNotebook, notebook_id=notebook.notebook_id, version="1.0.0")
    assert (pinned.version, pinned.kernel_type) == ("1.0.0", "python3")


async def test_form_fields_win_over_the_file(bench: Bench) -> None:
    notebook = await upload(
        bench,
        "# %%\nx = 1\n",
        file_name="steps.py",
        notebook_name="Named",
        notebook_description="Described",
        integration=Integration(enrichment_mode=True),
    )
    assert (notebook.notebook_name, notebook.notebook_description) == ("Named", "Described")
    assert notebook.integration.enrichment_mode is True
    assert notebook.parsing is not None
    assert notebook.parsing.nbformat == "percent"
    for form, ending, text in (("script", ".py", "# %%\nx = 1"), ("markdown", ".md", "```python\nx = 1\n```")):
        file = await bench.ask(ExportNotebook, notebook_id=notebook.notebook_id, format=form)
        assert (file.file_name, file.content) == (f"Named{ending}", {})
        assert text in (file.text or "")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        json.dumps({"a": 1}),
        json.dumps({**FILE, "nbformat": 2}),
        json.dumps({**FILE, "nbformat": 99}),
        json.dumps({**FILE, "cells": {}}),
        json.dumps(FILE)[:-30],
        "[" * 100_000 + "]" * 100_000,
        '{"nbformat":4,"cells":[],"metadata":' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    ],
)
async def test_a_refused_file_leaves_nothing(bench: Bench, content: str) -> None:
    with pytest.raises(Invalid) as raised:
        await upload(bench, content)
    assert raised.value.faults[0].path.startswith("file")
    assert (await bench.ask(ListNotebooks)).total_count == 0


async def test_a_cell_over_the_limit_leaves_nothing(bench: Bench) -> None:
    cell = {**FILE["cells"][0], "source": "x" * 2_000_001}
    with pytest.raises(TooLarge):
        await upload(bench, {**FILE, "cells": [cell]})
    assert (await bench.ask(ListNotebooks)).total_count == 0


async def test_an_unknown_dataset_is_refused(bench: Bench) -> None:
    with pytest.raises(Invalid) as raised:
        await upload(bench, FILE, integration=Integration(dataset_binding=uuid4()))
    assert [fault.path for fault in raised.value.faults] == ["datasetBinding"]
    assert (await bench.ask(ListNotebooks)).total_count == 0
