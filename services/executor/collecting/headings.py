"""Markdown headings, found in one pass over the text (CommonMark, ATX headings): outputs are called after them."""

from __future__ import annotations

import re

from nbformat import NotebookNode

MAX_LENGTH = 300
"""Characters of a heading that are kept."""

_HEADING = re.compile(r" {0,3}#{1,6}(?=[ \t]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def above_cells(notebook: NotebookNode) -> dict[str, str]:
    """The nearest heading above each cell, by the cell's id; cells with none above are left out."""
    found: dict[str, str] = {}
    nearest: str | None = None
    for cell in notebook.cells:
        if nearest is not None:
            found[cell["id"]] = nearest
        if cell["cell_type"] == "markdown":
            nearest = last_in(cell["source"]) or nearest
    return found


def last_in(text: str) -> str | None:
    """The last heading of a text that is not empty."""
    last, fence = None, ""
    for line in text.splitlines():
        if (opened := _FENCE.match(line)) is not None:
            if not fence:
                fence = opened[1]
            elif opened[1].startswith(fence) and not line[opened.end() :].strip():
                fence = ""
        elif not fence and (mark := _HEADING.match(line)) is not None:
            last = _title(line[mark.end() :]) or last
    return last


def _title(line: str) -> str:
    """The text of a heading without the marks that may close it."""
    title = line.strip()
    bare = title.rstrip("#")
    if bare != title and (not bare or bare[-1] in " \t"):
        title = bare.rstrip()
    return title[:MAX_LENGTH]
