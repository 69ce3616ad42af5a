"""Writes a run's parameters as a cell of the notebook's language, the way papermill does."""

from __future__ import annotations

import keyword
import re
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from papermill.translators import papermill_translators

PARAMETERS_TAG, INJECTED_TAG = "parameters", "injected-parameters"
"""papermill's convention: defaults in the cell tagged `parameters`, the run's values in one after it."""

INJECTED_ID = "injected-parameters"
"""Cell id of the injected cell in the executed notebook."""

LANGUAGE = {"python3": "python", "r": "R", "scala": "scala"}

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def nameable(name: str, kernel_type: str) -> bool:
    """Whether a parameter can be a variable in the notebook's language."""
    return bool(_NAME.match(name)) and not (kernel_type == "python3" and keyword.iskeyword(name))


def inject(notebook: NotebookNode, parameters: dict[str, Any], kernel_type: str) -> int | None:
    """Insert the cell that sets `parameters`; returns its index, None when there is nothing to set.

    It goes after the cell tagged `parameters`, else to the top. Names that cannot be variables are left to
    `client.parameters`.
    """
    settable = {name: value for name, value in parameters.items() if nameable(name, kernel_type)}
    if not settable:
        return None
    translator = papermill_translators.find_translator(LANGUAGE[kernel_type], LANGUAGE[kernel_type])
    cell = new_code_cell(source=translator.codify(settable, comment="Parameters of this execution"))
    cell.id = INJECTED_ID
    cell.metadata["tags"] = [INJECTED_TAG]
    tagged = [i for i, c in enumerate(notebook.cells) if PARAMETERS_TAG in c.metadata.get("tags", [])]
    index = tagged[0] + 1 if tagged else 0
    notebook.cells.insert(index, cell)
    return index
