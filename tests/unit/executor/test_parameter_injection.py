from __future__ import annotations

from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from services.executor.running import parameters
from shared.contracts.notebooks import KernelType


def test_values_go_after_the_cell_tagged_parameters() -> None:
    defaults = new_code_cell("year = 2020", metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[new_code_cell("1"), defaults, new_code_cell("year")])
    assert parameters.inject(notebook, {"year": 2024}, "python3") == 2
    cell = notebook.cells[2]
    assert "year = 2024" in cell.source
    assert cell.metadata["tags"] == ["injected-parameters"]


def test_values_go_to_the_top_without_such_a_cell() -> None:
    notebook = new_notebook(cells=[new_code_cell("x")])
    assert parameters.inject(notebook, {"x": 'a\'b\n"c"'}, "python3") == 0
    scope: dict[str, Any] = {}
    exec(notebook.cells[0].source, scope)
    assert scope["x"] == 'a\'b\n"c"'


@pytest.mark.parametrize("name", ["not-a-name", "class", "1x", "", "x;import os"])
def test_names_that_cannot_be_variables_are_left_to_the_client(name: str) -> None:
    notebook = new_notebook(cells=[new_code_cell("x")])
    assert parameters.inject(notebook, {name: 1}, "python3") is None
    assert len(notebook.cells) == 1


@pytest.mark.parametrize(("kernel", "expected"), [("r", "flag = TRUE"), ("scala", "val flag = true")])
def test_other_languages(kernel: KernelType, expected: str) -> None:
    notebook = new_notebook(cells=[])
    parameters.inject(notebook, {"flag": True}, kernel)
    assert expected in notebook.cells[0].source


def test_an_injected_cell_of_an_earlier_run_is_written_anew_as_papermill_does() -> None:
    old = new_code_cell("year = 2023", id="injected-parameters", metadata={"tags": ["injected-parameters"]})
    defaults = new_code_cell("year = 2020", metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[defaults, old, new_code_cell("year")])
    assert parameters.inject(notebook, {"year": 2024}, "python3") == 1
    assert len(notebook.cells) == 3
    assert "year = 2024" in notebook.cells[1].source


def test_the_injected_cell_has_an_id_of_its_own() -> None:
    notebook = new_notebook(cells=[new_code_cell("x", id="injected-parameters")])
    parameters.inject(notebook, {"x": 1}, "python3")
    assert [cell.id for cell in notebook.cells] == ["injected-parameters-2", "injected-parameters"]


@pytest.mark.parametrize("tags", ["parameters", None, 7, {}])
def test_tags_may_be_anything(tags: Any) -> None:
    notebook = new_notebook(cells=[new_code_cell("x")])
    notebook.cells[0].metadata["tags"] = tags
    assert parameters.inject(notebook, {"x": 1}, "python3") == 0
