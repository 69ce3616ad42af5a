"""Renders charts of the usual libraries to files, without importing any of them."""

from __future__ import annotations

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
        )
    if hasattr(figure, "to_html"):  # Plotly: interactive, its script inside, so that it opens offline
        page = figure.to_html(include_plotlyjs=True, full_html=True)
        return Rendering(".html", "text/html", lambda path: _write(path, page.encode("utf-8", "replace")))
    raise NotSavableError(f"a figure must come from matplotlib, seaborn or Plotly, not be a {type(figure).__name__}")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
