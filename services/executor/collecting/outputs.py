"""A cell's outputs as artifact entries: which form counts, what it is called, how large the picture is."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from nbformat import NotebookNode

INLINE_CONTENT_BYTES = 1024 * 1024
"""Content over this size is shown truncated in `detailed` results (SPEC.md: Results), in bytes."""

PREFERRED = (
    "application/vnd.plotly.v1+json",
    "application/vnd.vegalite.v5+json",
    "application/vnd.vega.v5+json",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/svg+xml",
    "application/json",
    "text/html",
    "text/latex",
    "text/markdown",
    "text/plain",
)
"""Of the forms an output comes in, the first of these counts; others by name after them."""

INTERACTIVE = re.compile(r"^application/vnd\.(plotly|vega|vegalite|bokehjs_exec)\b")
"""MIME types of interactive charts."""

EXTENSION = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "application/json": "json",
    "text/html": "html",
    "text/latex": "tex",
    "text/markdown": "md",
    "text/plain": "txt",
}

_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class CellOutput:
    """One output of a cell, in the form that counts."""

    cell_id: str
    output_type: str
    content_type: str
    data: bytes
    extension: str
    title: str | None
    width: int | None
    height: int | None
    content: Any
    content_truncated: bool
    is_plot: bool
    is_table: bool


def of_cell(notebook: NotebookNode, index: int) -> Iterator[CellOutput]:
    """The outputs of the cell at `index`, in order."""
    cell = notebook.cells[index]
    heading = heading_above(notebook, index)
    for output in cell.get("outputs", []):
        found = _read(output, cell.id, heading)
        if found is not None:
            yield found


def type_of(cell: NotebookNode) -> str | None:
    """The word for a cell's main output: the first that is not just text on a stream."""
    words = [_word(output) for output in cell.get("outputs", [])]
    shown = [word for word in words if word not in (None, "stream", "error")]
    return next(iter(shown), next(iter(word for word in words if word), None))


def heading_above(notebook: NotebookNode, index: int) -> str | None:
    """The nearest Markdown heading above a cell."""
    for cell in reversed(notebook.cells[:index]):
        if cell.cell_type == "markdown":
            headings = _HEADING.findall(cell.source)
            if headings:
                return str(headings[-1])
    return None


def _form(data: dict[str, Any]) -> str | None:
    for mime in PREFERRED:
        if mime in data:
            return mime
    return next(iter(sorted(data)), None)


def _word(output: NotebookNode) -> str | None:
    if output.output_type in ("stream", "error"):
        return str(output.output_type)
    form = _form(output.get("data", {}))
    if form is None:
        return None
    return form if form.startswith("image/") or form.endswith("json") else str(output.output_type)


def _read(output: NotebookNode, cell_id: str, heading: str | None) -> CellOutput | None:
    if output.output_type == "stream":
        return _text(output, cell_id, heading, "text/plain", output.text)
    if output.output_type == "error":
        return _text(output, cell_id, heading, "text/plain", "\n".join(output.traceback) or output.evalue)
    data = output.get("data", {})
    form = _form(data)
    if form is None:
        return None
    metadata = output.get("metadata", {})
    own = metadata.get("title") or (metadata.get(form) or {}).get("title")
    title = str(own) if own else _figure_title(form, data) or heading
    if form.startswith("image/") and form != "image/svg+xml":
        return _image(output, cell_id, title, form, data[form])
    return _text(output, cell_id, title, form, data[form])


def _image(output: NotebookNode, cell_id: str, title: str | None, form: str, encoded: Any) -> CellOutput | None:
    try:
        raw = base64.b64decode("".join(encoded) if isinstance(encoded, list) else encoded)
    except (binascii.Error, TypeError, ValueError):
        return None  # the notebook called something an image that is none
    width, height = _dimensions(form, raw, output.get("metadata", {}).get(form) or {})
    return CellOutput(
        cell_id=cell_id,
        output_type=form,
        content_type=form,
        data=raw,
        extension=EXTENSION.get(form, "bin"),
        title=title,
        width=width,
        height=height,
        content=None,
        content_truncated=False,
        is_plot=True,
        is_table=False,
    )


def _text(output: NotebookNode, cell_id: str, title: str | None, form: str, value: Any) -> CellOutput:
    is_json = form.endswith("json")
    raw = orjson.dumps(value) if is_json else str("".join(value) if isinstance(value, list) else value).encode()
    is_image = form.startswith("image/")
    truncated = len(raw) > INLINE_CONTENT_BYTES
    content: Any = None
    if is_json and not truncated:
        content = value
    elif not is_image and not is_json:
        content = raw[:INLINE_CONTENT_BYTES].decode(errors="ignore")
    width, height = _svg_dimensions(raw) if is_image else (None, None)
    return CellOutput(
        cell_id=cell_id,
        output_type=form if is_image or is_json else str(output.output_type),
        content_type=form,
        data=raw,
        extension="json" if is_json else EXTENSION.get(form, "txt"),
        title=title,
        width=width,
        height=height,
        content=content,
        content_truncated=truncated and not is_image,
        is_plot=is_image or bool(INTERACTIVE.match(form)),
        is_table=form == "text/html" and b'class="dataframe"' in raw,
    )


def _figure_title(form: str, data: dict[str, Any]) -> str | None:
    """The title that an interactive chart carries itself."""
    if not INTERACTIVE.match(form) or not isinstance(data.get(form), dict):
        return None
    title = data[form].get("layout", {}).get("title") or data[form].get("title")
    if isinstance(title, dict):
        title = title.get("text")
    return title if isinstance(title, str) and title else None


def _dimensions(form: str, raw: bytes, metadata: dict[str, Any]) -> tuple[int | None, int | None]:
    """Pixels: from the picture itself where its header is simple, else from the output's metadata."""
    if form == "image/png" and raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) >= 24:
        width, height = struct.unpack(">II", raw[16:24])
        return width, height
    if form == "image/gif" and raw[:4] == b"GIF8" and len(raw) >= 10:
        width, height = struct.unpack("<HH", raw[6:10])
        return width, height
    width, height = metadata.get("width"), metadata.get("height")
    return (width if isinstance(width, int) else None, height if isinstance(height, int) else None)


def _svg_dimensions(raw: bytes) -> tuple[int | None, int | None]:
    head = raw[:2000].decode(errors="ignore")
    start = head.find("<svg")
    tag = head[start : head.find(">", start)] if start >= 0 else ""
    found = dict(re.findall(r"\b(width|height)=[\"']([\d.]+)", tag))
    return (
        round(float(found["width"])) if "width" in found else None,
        round(float(found["height"])) if "height" in found else None,
    )
