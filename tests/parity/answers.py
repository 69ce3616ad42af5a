"""What came of a notebook, in a form that can be compared and kept: outputs, counts, errors, widgets, files."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbformat import NotebookNode

from tests.parity.normal import ID, Normal

Answer = dict[str, Any]
"""`cells` (of code cells: `n` and `out`), `end`, and `files` and `widgets` where there are some."""

MAX_TEXT = 1_000
"""Longer texts are kept as their beginning and a hash, in characters."""

MAX_BYTES = 300
"""Larger files are kept as a hash."""

ERROR_MARK = "papermill-error-cell-tag"
"""papermill's tag of cells that it puts into a notebook that failed; no cells of ours."""

BYTECODE = "__pycache__/"
"""Part of the names of files that are not compared: they hold the time of their source."""

WIDGETS = "application/vnd.jupyter.widget-state+json"


def answer(notebook: NotebookNode, end: str, files: Mapping[str, bytes], run_dirs: Sequence[str]) -> Answer:
    """The answer of an executed notebook. `end` is `ok` or the error that ended it."""
    normal = Normal(run_dirs)
    cells = [cell for cell in notebook.cells if ERROR_MARK not in cell.metadata.get("tags", [])]
    found: Answer = {"cells": [_cell(cell, normal) for cell in cells if cell.cell_type == "code"]}
    found["end"] = brief(normal.text(end))
    if files:
        found["files"] = {name: _file(content) for name, content in sorted(files.items()) if BYTECODE not in name}
    state = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    if state:
        # In the file they are sorted by their ids, which are random.
        models = (ID.sub("id", json.dumps(model, sort_keys=True)) for model in state.values())
        found["widgets"] = [brief(json.loads(model)) for model in sorted(models)]
    return found


def brief(value: Any) -> Any:
    """`value` with long texts, and what is large as a whole, cut to a beginning and a hash."""
    if isinstance(value, str):
        if len(value) <= MAX_TEXT:
            return value
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{value[:60]} … {len(value):,} characters, sha256 {digest[:24]}"
    if isinstance(value, dict | list):
        text = json.dumps(value, sort_keys=True)
        if len(text) > MAX_TEXT:
            return brief(text)
    return value


def _cell(cell: NotebookNode, normal: Normal) -> dict[str, Any]:
    found: dict[str, Any] = {"n": cell.execution_count}
    if cell.outputs:
        found["out"] = list(_outputs(cell, normal))
    return found


def _outputs(cell: NotebookNode, normal: Normal) -> Iterable[dict[str, Any]]:
    """The outputs. Pieces of a stream are joined: in how many they come is a matter of time; so is the order of those
    of stdout and stderr that come together (nbclient has the same rule where it joins them)."""
    for is_stream, group in itertools.groupby(cell.outputs, key=lambda output: output.output_type == "stream"):
        if is_stream:
            texts = {"stdout": "", "stderr": ""}
            for output in group:
                texts[output.name] += output.text
            yield from ({name: brief(normal.text(text))} for name, text in texts.items() if text)
            continue
        for output in group:
            if output.output_type == "error":
                lines = normal.text("\n".join(output.traceback))
                if output.ename == "RecursionError":  # how deep it came depends on the calls that lead to a cell
                    lines = "\n\n".join(dict.fromkeys(lines.split("\n\n")))
                error = {"error": normal.text(output.ename), "value": normal.text(output.evalue), "traceback": lines}
                yield {name: brief(text) for name, text in error.items()}
                continue
            word = "result" if output.output_type == "execute_result" else "display"
            found: dict[str, Any] = {word: {mime: _form(mime, form, normal) for mime, form in output.data.items()}}
            if output.metadata:
                found["metadata"] = brief(normal.value(output.metadata))
            if output.get("execution_count") not in {None, cell.execution_count}:
                found["n"] = output.execution_count
            yield found


def _form(mime: str, form: Any, normal: Normal) -> Any:
    is_picture = mime.startswith("image/") and mime != "image/svg+xml"
    return brief(form if is_picture else normal.value(form))


def _file(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and len(content) <= MAX_BYTES:
        return text
    return f"{len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()[:24]}"
