"""The executed notebook as a file, as nbformat writes it, but cell by cell: nbformat copies the whole notebook, and
makes a text of each line and each value, which takes a hundred times the memory of what a notebook can put out.

Texts of many lines stay whole, and JSON with many values is written without line ends; both mean the same to readers.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from nbformat import NotebookNode

MAX_LINES = 10_000
"""A text with more lines is written as one."""

MAX_INDENTED = 10_000
"""JSON of an output with more values is written without line ends."""

TRANSIENT: Final = ("orig_nbformat", "orig_nbformat_minor", "signature")
"""Members of a notebook's metadata that no file has."""

SPLIT: Final = ("application/javascript", "image/svg+xml")
"""Forms of an output that are written in lines, beside those that are text."""

_LINE_ENDS: Final = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""What `str.splitlines` takes for the end of a line."""


def write(notebook: NotebookNode, path: Path) -> None:
    """Write the notebook to a file."""
    with path.open("w", encoding="utf-8") as file:
        for piece in pieces(notebook):
            file.write(piece)


def pieces(notebook: NotebookNode) -> Iterator[str]:
    """Return the text of the file, a cell at a time."""
    yield "{"
    between = "\n"
    for name, value in sorted(notebook.items()):
        yield f'{between} "{name}": '
        between = ",\n"
        if name == "cells" and value:
            yield from _cells(value)
        elif name == "metadata":
            part = _Part()
            kept = {key: part.value(one) for key, one in value.items() if key not in TRANSIENT}
            yield part.text(kept, 1)
        else:
            yield _Part().text(value, 1)
    yield "\n}\n"


def _cells(cells: list[NotebookNode]) -> Iterator[str]:
    between = "[\n  "
    for cell in cells:
        yield between + _Part().cell(cell)
        between = ",\n  "
    yield "\n ]"


class _Part:
    """One part of a notebook. Its large values are written by themselves, and put where a sign stands for them."""

    def __init__(self) -> None:
        self._sign = secrets.token_hex(16)
        self._apart: list[str] = []

    def cell(self, cell: NotebookNode) -> str:
        """Return a cell as it stands in the list of cells."""
        shown = dict(cell)
        shown["metadata"] = {name: value for name, value in cell.metadata.items() if name != "trusted"}
        shown["source"] = _lines(cell.source)
        if isinstance(attachments := cell.get("attachments"), dict):
            shown["attachments"] = {name: self._bundle(one) for name, one in attachments.items()}
        if cell.cell_type == "code":
            shown["outputs"] = [self._output(output) for output in cell.get("outputs", [])]
        return self.text(shown, 2)

    def value(self, value: Any) -> Any:
        """Return JSON as it is, or where it has many values, a sign."""
        if not isinstance(value, dict | list):
            return value
        try:
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        except TypeError:  # a whole number of more than 64 bits
            text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        if text.count(",") + text.count("[") + text.count("{") <= MAX_INDENTED:
            return value
        self._apart.append(text)
        return f"{self._sign}-{len(self._apart) - 1}"

    def text(self, value: Any, level: int) -> str:
        """Return a value as JSON text, as it stands within `level` levels of a notebook."""
        text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": "))
        text = text.replace("\n", "\n" + " " * level)
        first, *others = text.split(f'"{self._sign}-')
        parts = [first]
        for other in others:
            number, _, rest = other.partition('"')
            parts += [self._apart[int(number)], rest]
        return "".join(parts)

    def _output(self, output: Mapping[str, Any]) -> dict[str, Any]:
        shown = dict(output)
        if output["output_type"] == "stream":
            shown["text"] = _lines(output["text"])
        elif isinstance(output.get("data"), dict):
            shown["data"] = self._bundle(output["data"])
        for name in ("metadata", "traceback"):
            if name in shown:
                shown[name] = self.value(shown[name])
        return shown

    def _bundle(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the forms of an output."""
        return {
            mime: _lines(value) if mime.startswith("text/") or mime in SPLIT else self.value(value)
            for mime, value in data.items()
        }


def _lines(text: Any) -> Any:
    """Return a text as a list of its lines."""
    if not isinstance(text, str) or (len(text) > MAX_LINES and sum(map(text.count, _LINE_ENDS)) > MAX_LINES):
        return text
    return text.splitlines(keepends=True)
