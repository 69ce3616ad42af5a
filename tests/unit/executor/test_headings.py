"""Headings as CommonMark has them, found in one pass."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from services.executor.collecting import headings


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("# One", "One"),
        ("text\n## Two ##\n\nmore", "Two"),
        ("# a\n### b  \n", "b"),
        ("# C#", "C#"),
        ("# C # #", "C #"),
        ("   # indented", "indented"),
        ("    # code", None),
        ("####### seven", None),
        ("#hashtag", None),
        ("# kept\n#\n##  \n# ##", "kept"),
        ("#\nnot the heading", None),
        ("# kept\n```python\n# a comment\n```\n", "kept"),
        ("```\n# open\n~~~\n# still\n", None),
        ("#\tby a tab", "by a tab"),
        ("", None),
        ("# a" + " " * 2_000_000 + "b", "a" + " " * (headings.MAX_LENGTH - 1)),
        ("# a" + " #" * 1_000_000 + "b", ("a" + " #" * 200)[: headings.MAX_LENGTH]),
    ],
)
def test_the_last_heading(text: str, heading: str | None) -> None:
    assert headings.last_in(text) == heading


def test_cells_have_the_nearest_heading_above() -> None:
    sources = ["x", "# A", "x", "no heading", "x", "## B", "x"]
    cells = [new_code_cell("1") if text == "x" else new_markdown_cell(text) for text in sources]
    notebook = nbformat.from_dict(new_notebook(cells=cells))
    found = headings.above_cells(notebook)
    assert [found.get(cell.id) for cell in notebook.cells if cell.cell_type == "code"] == [None, "A", "A", "B"]
