"""The notebook of a run that goes on: what is shown of it."""

from __future__ import annotations

import nbformat
import orjson
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from services.executor.running import draft


def executed() -> nbformat.NotebookNode:
    printed = new_output("stream", name="stdout", text="x" * 100)
    failed = new_output("error", ename="KeyError", evalue="'a'", traceback=["y"])
    notebook: nbformat.NotebookNode = new_notebook(
        cells=[new_markdown_cell("# T"), new_code_cell("1", outputs=[printed]), new_code_cell("2", outputs=[failed])]
    )
    return notebook


def test_everything_is_shown() -> None:
    notebook = executed()
    assert draft.content_of(notebook, errors_only=False) == notebook


def test_outputs_that_the_run_does_not_keep_are_not_shown_either() -> None:
    notebook = executed()
    content = nbformat.from_dict(draft.content_of(notebook, errors_only=True))
    assert [[output.output_type for output in cell.get("outputs", [])] for cell in content.cells] == [[], [], ["error"]]
    assert len(notebook.cells[1].outputs) == 1


def test_a_notebook_that_is_too_large_says_so_and_stays_valid() -> None:
    content = nbformat.from_dict(draft.content_of(executed(), errors_only=False, max_bytes=120))
    nbformat.validate(content)
    assert len(content.cells[1].outputs[0].text) == 100
    assert content.cells[2].outputs[0].text == draft.LEFT_OUT


def test_whole_numbers_that_readers_would_round_are_texts() -> None:
    notebook = executed()
    notebook.cells[1].outputs.append(
        new_output("display_data", data={"application/json": {"a": [2**70, 2**64 - 1, True, 1.5], "b": None}})
    )
    content = orjson.loads(draft.encoded(draft.content_of(notebook, errors_only=False)))
    assert content["cells"][1]["outputs"][1]["data"]["application/json"] == {
        "a": [str(2**70), 2**64 - 1, True, 1.5],
        "b": None,
    }
