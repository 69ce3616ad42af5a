"""What an earlier papermill run left in a file goes: made and taken away by papermill's own functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from papermill.exceptions import PapermillExecutionError
from papermill.execute import raise_for_execution_errors, remove_error_markers
from papermill.parameterize import parameterize_notebook

from services.catalog import importing
from shared.errors import Invalid

SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def original() -> Any:
    cells = [
        new_markdown_cell("# Title", metadata={"tags": []}),
        new_code_cell("a = 1", metadata={"tags": ["parameters"]}),
        new_code_cell("1 / 0", metadata={"tags": []}),
        new_code_cell("print(a)", metadata={"tags": []}),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": SPEC})


def executed(folder: Path) -> Any:
    """The file that papermill leaves when a cell of a notebook fails."""
    given = original()
    given.metadata["papermill"] = {}
    notebook = parameterize_notebook(given, {"a": 2}, kernel_name="python3", language="python")
    notebook.metadata["papermill"] = {"parameters": {"a": 2}, "exception": True, "version": "2.6.0"}
    for cell in notebook.cells:
        cell.metadata["papermill"] = {"status": "completed", "duration": 0.1, "exception": False}
    failed = notebook.cells[3]
    failed.execution_count = 3
    failed.metadata["papermill"]["exception"] = True
    failed.outputs = [new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=["x"])]
    path = folder / "out.ipynb"
    with pytest.raises(PapermillExecutionError):
        raise_for_execution_errors(notebook, str(path))
    return nbformat.read(path, as_version=4)


def test_a_file_that_papermill_left_is_the_notebook_it_was_given(tmp_path: Path) -> None:
    left = executed(tmp_path)
    assert len(left.cells) == 7
    imported = importing.read("out.ipynb", nbformat.writes(left), None)
    document = imported.document
    assert [cell["source"] for cell in document.cells] == [cell["source"] for cell in original().cells]
    assert [cell["metadata"] for cell in document.cells] == [cell["metadata"] for cell in original().cells]
    assert document.body["metadata"]["kernelspec"] == SPEC
    assert "papermill" not in document.body["metadata"]
    assert len(remove_error_markers(left).cells) == len(document.cells) + 1  # the parameters are papermill's to replace
    failed = document.export("python3")["cells"][2]
    assert failed["outputs"][0]["ename"] == "ZeroDivisionError"  # what the cells themselves showed stays
    said = " ".join(imported.parsing.warnings)
    assert len(imported.parsing.warnings) == 3
    assert "2 cells in which papermill told of the error" in said
    assert "1 cell that set the parameters" in said
    assert "metadata.papermill" in said


def test_faults_keep_their_places_in_the_file(tmp_path: Path) -> None:
    left = executed(tmp_path)
    left.cells[6].metadata["tags"] = "no array"
    with pytest.raises(Invalid) as raised:
        importing.read("out.ipynb", json.dumps(left), None)
    assert raised.value.faults[0].path == "file.cells[6].metadata.tags"


def test_a_text_with_that_tag_stays() -> None:
    notebook = new_notebook(
        cells=[new_markdown_cell("text", metadata={"tags": ["injected-parameters"]})], metadata={"kernelspec": SPEC}
    )
    imported = importing.read("a.ipynb", nbformat.writes(notebook), None)
    assert (len(imported.document.cells), imported.parsing.warnings) == (1, [])
