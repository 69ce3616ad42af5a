"""Charts of case durations and of waiting, drawn with matplotlib."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from process_mining_utils.style import (
    BLUE,
    EMPTY_NOTE,
    GRID,
    INK,
    MUTED,
    RED,
    blend,
    empty_figure,
    new_figure,
    plain_axes,
)
from process_mining_utils.times import human_hours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 32
# Round durations for a logarithmic axis, in hours.
_MARKS = {
    1 / 3600: "≤ 1 second",
    1 / 60: "1 minute",
    1 / 6: "10 minutes",
    1: "1 hour",
    8: "8 hours",
    24: "1 day",
    7 * 24: "1 week",
    30.4 * 24: "1 month",
    182.6 * 24: "6 months",
    2 * 8766: "2 years",
    10 * 8766: "10 years",
}
_SHORTEST = 1 / 3600  # hours; shorter cases stand in the first bar


def draw_case_durations(cases: pd.DataFrame, *, title: str = "How long cases take") -> Figure:
    """A histogram of `case_durations` on a logarithmic axis, with the median and the slowest tenth marked."""
    hours = cases["duration_hours"].dropna().to_numpy(dtype=float)
    if len(hours) == 0:
        return empty_figure(title, "No case has a known duration.")
    median, slow = np.quantile(hours, [0.5, 0.9])
    note = f"{len(hours):,} cases: half are done within {human_hours(median)}, nine in ten within {human_hours(slow)}"
    figure = new_figure(9.0, 3.9)
    axes = plain_axes(figure, title, note)
    shown = np.clip(hours, _SHORTEST, None)
    low, high = shown.min() / 1.3, shown.max() * 1.3
    counts, edges = np.histogram(shown, bins=np.geomspace(low, high, BINS + 1))
    colors = [blend(BLUE, RED, 1.0) if left >= slow else BLUE for left in edges[:-1]]
    axes.bar(edges[:-1], counts, width=np.diff(edges) * 0.92, align="edge", color=colors)
    axes.set_xscale("log")
    marks = [mark for mark in _MARKS if low <= mark <= high] or [float(median) or _SHORTEST]
    axes.set_xticks(marks, [_MARKS.get(mark, human_hours(mark)) for mark in marks])
    axes.set_xticks([], minor=True)
    axes.set_ylabel("cases", color=MUTED, fontsize=9)
    axes.yaxis.grid(True, color=GRID)
    axes.set_axisbelow(True)
    top = max(counts) * 1.12
    axes.set(ylim=(0, top), xlim=(low, high))
    for value, label, color, right in ((median, "median", INK, False), (slow, "slowest tenth", RED, True)):
        at = float(np.clip(value, _SHORTEST, None))
        axes.axvline(at, color=color, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(label, (at, top), xytext=(5 if right else -5, -4), textcoords="offset points", fontsize=8.5,
                      color=color, va="top", ha="left" if right else "right", annotation_clip=False)  # fmt: skip
    figure.subplots_adjust(left=0.08, right=0.9, top=0.8, bottom=0.11)
    return figure


def draw_bottlenecks(waits: pd.DataFrame, *, top: int = 8, title: str = "Where the time goes") -> Figure:
    """Bars for the worst hand-overs of `bottlenecks`: their share of all waiting, with the typical and the bad wait."""
    if waits.empty:
        return empty_figure(title, EMPTY_NOTE if waits.columns.empty else "No hand-over holds cases up.")
    worst = waits.head(top).iloc[::-1]
    figure = new_figure(9.0, 1.35 + 0.58 * len(worst))
    note = f"the {len(worst)} hand-overs where cases wait longest in all" if len(worst) > 1 else ""
    axes = plain_axes(figure, title, note)
    share = worst["share"].to_numpy(dtype=float) * 100
    colors = [blend("#e7b3b9", RED, value / share.max()) for value in share]
    axes.barh(range(len(worst)), share, color=colors, height=0.62)
    labels = [
        f"{textwrap.shorten(str(source), 34, placeholder='…')}\n→ {textwrap.shorten(str(target), 34, placeholder='…')}"
        for source, target in zip(worst["source"], worst["target"], strict=True)
    ]
    axes.set_yticks(range(len(worst)), labels)
    axes.tick_params(axis="y", labelcolor=INK, pad=6)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    medians, slowest = worst["median_hours"].tolist(), worst["p90_hours"].tolist()
    for place, count in enumerate(worst["count"].tolist()):
        text = f" {share[place]:.0f} %  ·  {count:,} times, median {human_hours(medians[place])}"
        text += f", slowest tenth {human_hours(slowest[place])}"
        axes.text(share[place], place, text, va="center", fontsize=8.5, color=MUTED)
    axes.set_xlim(0, share.max() * 2.5)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.27, right=0.98, top=1 - 0.85 / height, bottom=0.15 / height)
    return figure
