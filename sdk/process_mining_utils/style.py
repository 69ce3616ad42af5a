"""The look that all charts and reports share."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "#ffffff"
INK = "#1d2939"
MUTED = "#667085"
GRID = "#e4e7ec"
BLUE = "#2f6fb5"
RED = "#d1495b"
EMPTY_NOTE = "The log has no events that could be drawn."
DOTS_PER_INCH = 110  # sharp enough on screen, and a report with three charts stays below half a megabyte


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches, outside pyplot: nothing shows it twice and nothing keeps it in memory."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor=PAPER)


def empty_figure(title: str, note: str) -> Figure:
    """A figure that only says why there is nothing to see."""
    figure = new_figure(6.0, 1.6)
    figure.text(0.04, 0.82, title, fontsize=13, fontweight="bold", color=INK, va="top")
    figure.text(0.04, 0.4, note, fontsize=10, color=MUTED, va="center")
    return figure


def plain_axes(figure: Figure, title: str, note: str = "") -> Axes:
    """Axes with a title at the left and as few lines as possible."""
    axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=0)
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=26 if note else 12)
    if note:
        axes.text(0, 1.03, note, transform=axes.transAxes, fontsize=9, color=MUTED, va="bottom")
    return axes


def blend(first: str, second: str, share: float) -> str:
    """The colour that is `share` (0 to 1) of the way from one colour to the other."""
    one, two = (tuple(int(color[at : at + 2], 16) for at in (1, 3, 5)) for color in (first, second))
    share = min(1.0, max(0.0, share))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(one, two, strict=True))


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG image, to show and to put into a report."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=PAPER)
    return stream.getvalue()
