"""The executed notebook is written as nbformat writes it, in little memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from services.executor.collecting import notebook_file

MEGABYTE = 1_000_000


def with_output(**members: Any) -> NotebookNode:
    cell = nbformat.v4.new_code_cell("1")
    cell.outputs = [nbformat.from_dict(members)]
    notebook: NotebookNode = nbformat.v4.new_notebook(cells=[cell])
    return notebook


def shown(data: dict[str, Any], **metadata: Any) -> NotebookNode:
    return with_output(output_type="display_data", data=data, metadata=metadata)


def ordinary() -> NotebookNode:
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell("# a\nb\n", attachments={"a.png": {"image/png": "aa\n"}}),
        v4.new_raw_cell(""),
        v4.new_code_cell("x = 'é'\r\ny\u2028z", metadata={"trusted": True, "tags": ["a", "b"], "empty": {}}),
    ]
    cells[2].outputs = [
        v4.new_output("stream", name="stdout", text="a\nb"),
        v4.new_output("error", ename="E", evalue="e", traceback=["a\nb", "c"]),
        v4.new_output("execute_result", data={"application/json": {"b": [1, {}], "a": []}, "text/html": "<\n>"}),
        v4.new_output("display_data", data={"application/vnd.x+json": 2**70, "image/svg+xml": ["a\n", "b"]}),
    ]
    kernel = {"name": "python3", "display_name": "P"}
    metadata = {"kernelspec": kernel, "signature": "s", "orig_nbformat": 3, "title": "t"}
    notebook: NotebookNode = v4.new_notebook(cells=cells, metadata=metadata)
    return notebook


@pytest.mark.parametrize("notebook", [ordinary(), nbformat.v4.new_notebook()], ids=["ordinary", "empty"])
def test_a_notebook_is_written_as_nbformat_writes_it(notebook: NotebookNode, tmp_path: Path) -> None:
    for path, write in ((tmp_path / "ours", notebook_file.write), (tmp_path / "theirs", nbformat.write)):
        write(notebook, path)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize(
    "notebook",
    [
        shown({"application/json": [{"a": "é\u2028", "b": None}] * 200_000}),
        shown({"text/plain": "a"}, many=list(range(200_000))),
        with_output(output_type="stream", name="stdout", text="é\n" * 2_000_000),
        with_output(output_type="stream", name="stdout", text="\x1c" * 2_000_000),
        with_output(output_type="error", ename="E", evalue="", traceback=["a"] * 200_000),
    ],
    ids=["JSON", "metadata", "lines", "separators", "traceback"],
)
def test_a_large_one_means_the_same_and_takes_little_memory(notebook: NotebookNode, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    tracemalloc.start()
    try:
        notebook_file.write(notebook, path)
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()
    read = nbformat.read(path, as_version=4)
    assert read == notebook
    assert json.loads(path.read_text())["nbformat"] == 4
