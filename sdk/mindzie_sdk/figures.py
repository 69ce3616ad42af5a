"""Renders charts of the usual libraries to files, without importing any of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindzie_sdk.errors import NotSavableError

CONTENT_TYPES = {"png": "image/png", "svg": "image/svg+xml"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
DOTS_PER_INCH = 144  # twice the notebook default: sharp on the screens people have


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a chart becomes a file."""

    suffix: str
    content_type: str
    write: Callable[[Path], None]
    title: str | None = None


def rendering(figure: Any, form: str) -> Rendering:
    """Chooses how to write the chart. Raises NotSavableError for what is none and for an unknown format."""
    if isinstance(figure, bytes):
        if not figure.startswith(PNG_SIGNATURE):
            raise NotSavableError("these bytes are no PNG image: pass the figure itself")
        return Rendering(".png", "image/png", lambda path: _write(path, figure))
    if form not in CONTENT_TYPES:
        raise NotSavableError(f"a figure cannot be saved as {form!r}: use 'png' or 'svg'")
    if not hasattr(figure, "savefig"):
        owner = getattr(figure, "figure", None)  # axes, artists
        if hasattr(owner, "savefig"):
            figure = owner
    if hasattr(figure, "savefig"):
        chart = figure
        return Rendering(
            f".{form}",
            CONTENT_TYPES[form],
            lambda path: chart.savefig(path, format=form, dpi=DOTS_PER_INCH, bbox_inches="tight"),
            _title(chart),
        )
    if type(figure).__module__.startswith("altair") and hasattr(figure, "to_dict"):
        spec = figure.to_dict()
        version = re.search(r"vega-lite/v(\d+)", str(spec.get("$schema")))
        content_type = f"application/vnd.vegalite.v{version[1] if version else 5}+json"
        return Rendering(".json", content_type, lambda path: _write(path, json.dumps(spec).encode()))
    if hasattr(figure, "to_html"):  # Plotly: interactive, its script inside, so that it opens offline
        page = figure.to_html(include_plotlyjs=True, full_html=True)
        return Rendering(".html", "text/html", lambda path: _write(path, page.encode("utf-8", "replace")))
    raise NotSavableError(
        f"a figure must come from matplotlib, seaborn, Plotly or Altair, not be a {type(figure).__name__}"
    )


def _title(figure: Any) -> str | None:
    """What a matplotlib figure is called: its own title, or that of its only axes."""
    own = figure.get_suptitle() if hasattr(figure, "get_suptitle") else ""
    axes = getattr(figure, "axes", [])
    if not own and len(axes) == 1:
        own = axes[0].get_title()
    return str(own)[:300] or None


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
