"""The corpus: small notebooks in a readable form, from which the .ipynb files are made.

A file holds the cases of one kind. A case begins with `=== name`, with options as JSON behind it where it has some;
`# %%` begins another cell, with `[markdown]` or `[raw]` for its type and its metadata as JSON behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

FOLDER = Path(__file__).parent / "corpus"

SUFFIX = ".txt"

CELL = re.compile(r"# %%(?: \[(markdown|raw)\])?(?: (\{.*\}))?")

NEW: dict[str, Callable[..., NotebookNode]] = {
    "code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell
}  # fmt: skip

ENTER_OUTPUTS = "import os\nos.chdir(os.environ['ATELIER_RUN_DIR'] + '/outputs')"
"""First cell of a case whose files are compared: it works in the folder whose files are kept. The recorder has a folder
of the same layout."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a case."""

    source: str
    kind: str = "code"
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One notebook. `outputs`: it works in the outputs folder and the files in it are compared; `built`: it needs the
    packages of the built environment."""

    kind: str
    name: str
    cells: list[Cell]
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: bool = False
    built: bool = False

    @property
    def id(self) -> str:
        """The name it is recorded under."""
        return f"{self.kind}/{self.name}"

    def notebook(self) -> NotebookNode:
        """The notebook as a user would bring it."""
        cells = [Cell(source=ENTER_OUTPUTS), *self.cells] if self.outputs else self.cells
        made = [
            NEW[cell.kind](source=cell.source, metadata=cell.metadata, id=f"c{number}")
            for number, cell in enumerate(cells)
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        return NotebookNode(new_notebook(cells=made, metadata={"kernelspec": kernel}))


@cache
def cases() -> dict[str, Case]:
    """All cases by id, in the order of the files."""
    found: dict[str, Case] = {}
    for path in sorted(FOLDER.glob(f"*{SUFFIX}")):
        for case in read(path):
            if case.id in found:
                raise ValueError(f"there are two cases {case.id}")
            found[case.id] = case
    return found


def read(path: Path) -> Iterator[Case]:
    """The cases of one file. Raises ValueError for text before the first heading and for unknown options."""
    before, *parts = re.split(r"^=== (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if before.strip():
        raise ValueError(f"{path.name} has text before its first case")
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        name, _, options = heading.partition(" ")
        given = json.loads(options) if options else {}
        if unknown := set(given) - {"parameters", "outputs", "built"}:
            raise ValueError(f"{path.name}: {name} has unknown options: {', '.join(sorted(unknown))}")
        yield Case(kind=path.stem, name=name, cells=list(_cells(body)), **given)


def _cells(body: str) -> Iterator[Cell]:
    kind, is_first = "code", True
    metadata: dict[str, Any] = {}
    lines: list[str] = []
    for line in body.removesuffix("\n").removesuffix("\n").split("\n"):
        marker = CELL.fullmatch(line)
        if marker is None:
            lines.append(line)
            continue
        if not is_first or lines:
            yield Cell(source="\n".join(lines), kind=kind, metadata=metadata)
        is_first = False
        kind, metadata, lines = marker[1] or "code", json.loads(marker[2] or "{}"), []
    yield Cell(source="\n".join(lines), kind=kind, metadata=metadata)
