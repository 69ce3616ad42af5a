"""An output of a cell as an artifact: which form counts, what it is called, how large the picture is."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import orjson
from nbformat import NotebookNode

from services.executor.collecting import charts, pictures
from services.executor.collecting.charts import INTERACTIVE
from services.executor.collecting.scraps import scrap_in
from shared import exact_numbers

INLINE_CONTENT_BYTES = 1024 * 1024
"""Content over this size is shown truncated in `detailed` results (SPEC.md: Results), in bytes."""

PREFERRED = (
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
"""Of the forms an output comes in, an interactive chart counts first, then the first of these, then others by name."""

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
"""A reference to a widget, which only a live front end can show: its fallback counts."""

BINARY = re.compile(r"^(image/(?!svg\+xml)|audio/|video/|application/(pdf|octet-stream)$)")
"""MIME types whose data nbformat holds as base64."""

EXTENSION = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "application/json": "json",
    "application/pdf": "pdf",
    "application/javascript": "js",
    "text/html": "html",
    "text/latex": "tex",
    "text/markdown": "md",
    "text/plain": "txt",
}

_TABLE = re.compile(rb'class="dataframe"|<table id="T_')
"""What the HTML of pandas tables holds: of data frames, and of those with a style."""

_MIME_TYPE = re.compile(r"\w[\w!#$&^.+-]{0,126}/\w[\w!#$&^.+-]{0,126}(;[ -~]{1,100})?", re.ASCII)
"""A media type (RFC 6838), perhaps with parameters: it is part of headers."""

TITLE_LENGTH = 300
"""Longest title of an output, in characters."""


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
    warning: str | None = None

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


def type_of(cell: NotebookNode) -> str | None:
    """The word for a cell's main output: the first that is not just text on a stream."""
    words = [_word(output) for output in cell.get("outputs", [])]
    shown = [word for word in words if word not in (None, "stream", "error")]
    return next(iter(shown), next(iter(word for word in words if word), None))


def _form(data: dict[str, Any]) -> str | None:
    # sympy shows a formula's picture beside it: that is no plot.
    formula = ("text/latex",) if "text/html" not in data else ()
    for mime in (*filter(INTERACTIVE.match, data), *formula, *PREFERRED):
        if mime in data and _MIME_TYPE.fullmatch(mime):
            return str(mime)
    others = sorted(str(mime) for mime in data if mime != WIDGET_VIEW)
    return next(filter(_MIME_TYPE.fullmatch, others), next(iter(others), None))


def _word(output: NotebookNode) -> str | None:
    if output.output_type in ("stream", "error"):
        return str(output.output_type)
    form = _form(output.get("data", {}))
    if form is None:
        return None
    is_named = (form.startswith("image/") or form.endswith("json")) and _MIME_TYPE.fullmatch(form)
    return form if is_named else str(output.output_type)


def read(output: NotebookNode, cell_id: str, heading: str | None) -> CellOutput | None:
    """An output in the form that counts; None for one that has nothing to show. `heading`: the one above its cell."""
    if scrap_in(output) is not None:
        return None  # it is kept as a value
    if output.output_type == "stream":
        return _text(output, cell_id, heading, "text/plain", output.text)
    if output.output_type == "error":
        return _text(output, cell_id, heading, "text/plain", "\n".join(output.traceback) or output.evalue)
    data = output.get("data", {})
    form = _form(data)
    if form is None:
        return None
    metadata = output.get("metadata", {})
    own = metadata.get("title") or _members(metadata, form).get("title")
    chart = charts.title_of(data[form]) if INTERACTIVE.match(form) else None
    title = str(own)[:TITLE_LENGTH] if own else chart or heading
    if not _MIME_TYPE.fullmatch(form):
        # The notebook's own word for something; no header takes it.
        return _text(
            output, cell_id, title, "text/plain" if isinstance(data[form], str) else "application/json", data[form]
        )
    if BINARY.match(form):
        return _binary(output, cell_id, title, form, data[form])
    return _text(output, cell_id, title, form, data[form])


def _members(metadata: dict[str, Any], form: str) -> dict[str, Any]:
    """What an output's metadata say of one of its forms."""
    said = metadata.get(form)
    return said if isinstance(said, dict) else {}


def _binary(output: NotebookNode, cell_id: str, title: str | None, form: str, encoded: Any) -> CellOutput | None:
    try:
        raw = base64.b64decode("".join(encoded) if isinstance(encoded, list) else encoded)
    except (binascii.Error, TypeError, ValueError):
        return None  # the notebook called something a picture that is none
    width, height = _dimensions(form, raw, _members(output.get("metadata", {}), form))
    is_image = form.startswith("image/")
    return CellOutput(
        cell_id=cell_id,
        output_type=form if is_image else str(output.output_type),
        content_type=form,
        data=raw,
        extension=EXTENSION.get(form, "bin"),
        title=title,
        width=width,
        height=height,
        content=None,
        content_truncated=False,
        is_plot=is_image,
        is_table=False,
    )


def _text(output: NotebookNode, cell_id: str, title: str | None, form: str, value: Any) -> CellOutput:
    is_json = form.endswith("json")
    if isinstance(value, list) and not is_json and all(isinstance(line, str) for line in value):
        value = "".join(value)
    raw, rounded = _json(value) if is_json else (str(value).encode(errors="replace"), None)
    is_image = form.startswith("image/")
    truncated = len(raw) > INLINE_CONTENT_BYTES or rounded is not None
    warning = None
    if rounded is not None:
        warning = f"An output of {cell_id} has a whole number of more than 64 bits ({rounded}); download it to have it."
    content: Any = None
    if is_json and not truncated:
        content = value
    elif not is_image and not is_json:
        content = raw[:INLINE_CONTENT_BYTES].decode(errors="ignore")
    width, height = pictures.size_of(form, raw[: pictures.HEAD_BYTES]) if is_image else (None, None)
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
        is_table=form == "text/html" and _TABLE.search(raw) is not None,
        warning=warning,
    )


def _json(value: Any) -> tuple[bytes, str | None]:
    """JSON text of a value, and where it has a whole number that other readers of it would round."""
    try:
        return orjson.dumps(value), None
    except TypeError:
        raw = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        places = exact_numbers.large_integers(raw, 1)
        return raw, ".".join(map(str, places[0])) or "the whole of it" if places else None


def _dimensions(form: str, raw: bytes, metadata: dict[str, Any]) -> tuple[int | None, int | None]:
    """Pixels: from the picture itself where its header tells, else from the output's metadata."""
    width, height = pictures.size_of(form, raw[: pictures.HEAD_BYTES])
    if width is not None and height is not None:
        return width, height
    return pictures.plausible(metadata.get("width")), pictures.plausible(metadata.get("height"))
