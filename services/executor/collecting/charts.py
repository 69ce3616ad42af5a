"""Interactive charts among outputs: which they are, what they are called, and those that come as a web page alone.

Altair shows its charts as HTML that fetches its program from a content network, and puts no other form beside it. The
chart's description inside is added to such an output under its own MIME type, as Altair's other renderer would have
done: then JupyterLab, results and reports draw it without any outside host.
"""

from __future__ import annotations

import json
import re
from typing import Any

from nbformat import NotebookNode

from services.executor.kernels import messages

INTERACTIVE = re.compile(r"^application/vnd\.(plotly|vega|vegalite|bokehjs_exec)\b")
"""MIME types of interactive charts."""

_VEGA_LITE = re.compile(r"vega-lite/v(\d{1,3})")
_ALTAIR_MARK = 'id="altair-viz-'
_SPEC_START = "})({"
"""Where the description begins in Altair's page: the arguments of a function that is called where it is written."""

MAX_TITLE = 300
"""Longest title of a chart, in characters."""


def add_descriptions(cell: NotebookNode) -> None:
    """Give Altair's outputs of a cell the form that needs no outside host."""
    for output in cell.get("outputs", []):
        data = output.get("data")
        if not isinstance(data, dict) or any(map(INTERACTIVE.match, data)):
            continue
        page = data.get("text/html")
        spec = _altair_spec(page) if isinstance(page, str) else None
        if spec is not None and isinstance(kept := messages.cleaned(spec), dict):
            data[_mime_of(kept)] = kept


def title_of(chart: Any) -> str | None:
    """The title that a Plotly or Vega chart carries itself."""
    if not isinstance(chart, dict):
        return None
    layout = chart.get("layout")
    title = (layout.get("title") if isinstance(layout, dict) else None) or chart.get("title")
    if isinstance(title, dict):
        title = title.get("text")
    if isinstance(title, list):
        title = " ".join(map(str, title))
    return title[:MAX_TITLE] if isinstance(title, str) and title else None


def _altair_spec(page: str) -> dict[str, Any] | None:
    if _ALTAIR_MARK not in page:
        return None
    start = page.rfind(_SPEC_START)
    if start < 0:
        return None
    try:
        spec, _ = json.JSONDecoder().raw_decode(page, start + len(_SPEC_START) - 1)
    except (ValueError, RecursionError):
        return None
    return spec if isinstance(spec, dict) else None


def _mime_of(spec: dict[str, Any]) -> str:
    version = _VEGA_LITE.search(str(spec.get("$schema")))
    return f"application/vnd.vegalite.v{version[1] if version else 5}+json"
