"""Writes a run's parameters as a cell of the notebook's language, the way papermill does."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from papermill.translators import papermill_translators

from services.executor.parameter_rules import nameable
from services.executor.running import literals
from shared.contracts.notebooks import KernelType

PARAMETERS_TAG, INJECTED_TAG = "parameters", "injected-parameters"
"""papermill's convention: defaults in the cell tagged `parameters`, the run's values in one after it."""

INJECTED_ID = "injected-parameters"
"""Cell id of the injected cell in the executed notebook, with a number behind it where a cell has that id already."""


def inject(notebook: NotebookNode, parameters: dict[str, Any], kernel_type: KernelType) -> int | None:
    """Write the cell that sets `parameters`; returns its index, None when there is nothing to set.

    As in papermill, a cell tagged `injected-parameters` (of an earlier run) is written anew and keeps its id; else the
    new cell goes after the one tagged `parameters`, else to the top. Names that cannot be variables are left to
    `client.parameters`.
    """
    settable = {name: value for name, value in parameters.items() if nameable(name, kernel_type)}
    if not settable:
        return None
    source = _cell_of(settable, kernel_type)
    before = _tagged(notebook, INJECTED_TAG)
    if before is not None and notebook.cells[before].cell_type == "code":
        notebook.cells[before].source = source
        return before
    cell = new_code_cell(source=source)
    cell.id = _free_id({other.id for other in notebook.cells})
    cell.metadata["tags"] = [INJECTED_TAG]
    tagged = _tagged(notebook, PARAMETERS_TAG)
    index = 0 if tagged is None else tagged + 1
    notebook.cells.insert(index, cell)
    return index


def _cell_of(values: dict[str, Any], kernel_type: KernelType) -> str:
    if kernel_type in literals.CELLS:
        return literals.CELLS[kernel_type](values)
    source: str = papermill_translators.find_translator("python", "python").codify(
        values, comment="Parameters of this execution"
    )
    return source


def _tagged(notebook: NotebookNode, tag: str) -> int | None:
    """The first cell with the tag; a notebook may have anything for tags."""
    for index, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        if isinstance(tags, list) and tag in tags:
            return index
    return None


def _free_id(taken: set[str]) -> str:
    number, identity = 1, INJECTED_ID
    while identity in taken:
        number += 1
        identity = f"{INJECTED_ID}-{number}"
    return identity
