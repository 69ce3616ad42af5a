"""Types and help texts of parameters, held against papermill's own inference."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from papermill import inspect_notebook

from services.catalog import parameters
from services.catalog.document import Document, empty, new_cell

TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "list": "array", "dict": "object"}
"""What papermill says, in JSON Schema's words."""

LINES = [
    "a = 1",
    "b: int = 2",
    'c: "float" = 0.5',
    "d = 'x'  # type: str",
    "e = None  # type: int",
    "f = []  # type: list  what it holds",
    "g: dict = {}  # the options",
    "h = True  # whether",
    "i = 5  # type: bool the type wins over the value",
    "j = 1  # type of thing: none",
]


@pytest.mark.parametrize("line", LINES)
def test_a_parameter_is_what_papermill_says(line: str, tmp_path: Path) -> None:
    cell = new_code_cell(line, metadata={"tags": ["parameters"]})
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[cell], metadata={"kernelspec": spec}), path)
    ((name, told),) = inspect_notebook(str(path)).items()
    body = {**empty(), "cells": [new_cell("a", "code", line, {"tags": ["parameters"]})]}
    ((ours, schema),) = parameters.schema_of(Document(body=body), "python3")["properties"].items()
    assert ours == name
    assert schema.get("description", "") == told["help"]
    if told["inferred_type_name"] != "None":
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert types[0] == TYPES[told["inferred_type_name"]]
