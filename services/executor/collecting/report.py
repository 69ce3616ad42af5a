"""The report that a run itself leaves behind: its executed notebook as a page."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

from shared.reports.rendering import Heading, Renderer

RENDERER = Renderer(Path(gettempdir()) / "atelier-report-scripts")
"""One per slot, which renders the report of its run."""


async def render(notebook: Path, html: Path, heading: Heading) -> None:
    """Render `notebook` to `html`, with code. Raises ReportError."""
    await RENDERER.render(notebook, html, profile="full", heading=heading)
