"""Draws a directly-follows graph with matplotlib alone."""

from __future__ import annotations

import math
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from process_mining_utils.columns import ACTIVITY, CASE, TIME
from process_mining_utils.flow_graph import Edge, FlowGraph, Node, flow_graph
from process_mining_utils.flow_layout import Layout, layered_layout
from process_mining_utils.style import EMPTY_NOTE, GRID, INK, MUTED, PAPER, blend, empty_figure, new_figure
from process_mining_utils.times import human_hours

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]

WRAP_AT = 24  # characters of a line in a box
CHARACTER_WIDTH = 0.078  # inches, of the 9 point sans serif face
BOX_HEIGHT = 0.56
DOT_RADIUS = 0.17
MARGIN = 0.35
MIN_WIDTH = 6.4  # inches, for the title and the legend
PORT_GAP = 0.26  # between the ends of two arrows at one side of a box
ARROW_GAP = 0.09  # the tip of the arrow reaches this much beyond its line
LINE_WIDTHS = (0.9, 5.5)  # points, from the rarest to the most frequent connection
LABEL_SIZE = (0.062, 0.16)  # inches a character, and height, of the 7 point labels
LABEL_PLACES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)  # along an edge, tried in this order
COOL, HOT = "#8fa3bf", "#d1495b"  # connections without and with much waiting
BOX_LIGHT, BOX_DARK = "#e8f0fa", "#1f5fa8"


def draw_directly_follows(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True,
    max_activities: int = 14, title: str = "Process flow",
) -> Figure:  # fmt: skip
    """Draws the main flow, top to bottom: boxes are activities (darker = more events), arrows what follows what.

    Arrows are wider the more often, and redder the more of all waiting time they hold; labels give the number and the
    median time. The figure is not registered with pyplot; show it with `display(figure)`.
    """
    graph = flow_graph(df, case=case, activity=activity, time=time, include_weekends=include_weekends,
                       max_activities=max_activities)  # fmt: skip
    if not graph.nodes:
        return empty_figure(title, EMPTY_NOTE)
    boxes = [_box_size(node) for node in graph.nodes]
    edges = [(edge.source, edge.target, float(edge.count)) for edge in graph.edges]
    layout = layered_layout(boxes, edges)
    loops = any(edge.source == edge.target for edge in graph.edges)
    left, right = layout.left - MARGIN, layout.right + MARGIN + (0.7 if loops else 0.0)
    top, bottom = boxes[0][1] / 2 + 0.75, layout.bottom - 0.55
    missing = max(0.0, MIN_WIDTH - (right - left)) / 2
    left, right = left - missing, right + missing
    figure = new_figure(right - left, top - bottom)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.axis("off")
    axes.text(left + 0.2, top - 0.18, title, fontsize=13, fontweight="bold", color=INK, va="top")
    axes.text(left + 0.2, bottom + 0.12, _legend(graph), fontsize=7, color=MUTED, va="bottom", linespacing=1.5)
    _draw_edges(axes, graph, layout, boxes)
    busiest = max(node.count for node in graph.nodes if node.kind == "activity")
    for node, center, size in zip(graph.nodes, layout.centers, boxes, strict=True):
        _draw_node(axes, node, center, size, busiest)
    return figure


def _box_size(node: Node) -> tuple[float, float]:
    if node.kind != "activity":
        # The words stand at the right of the dot; as much is kept free at its left, so that edges meet the dot.
        return 2 * (DOT_RADIUS + 0.1 + len(_dot_label(node)) * 0.07), 2 * DOT_RADIUS
    lines = _wrapped(node.label)
    widest = max([*map(len, lines), 10])
    return widest * CHARACTER_WIDTH + 0.28, BOX_HEIGHT + 0.16 * (len(lines) - 1)


def _dot_label(node: Node) -> str:
    return f"{node.kind} · {node.label}"


def _wrapped(label: str) -> list[str]:
    lines = textwrap.wrap(label, WRAP_AT, max_lines=3, placeholder=" …")
    return lines or ["(empty)"]


def _draw_node(axes: Axes, node: Node, center: Point, size: tuple[float, float], busiest: int) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch

    x, y = center
    if node.kind != "activity":
        color = "#2a9d6f" if node.kind == "start" else INK
        axes.add_patch(Circle(center, DOT_RADIUS, facecolor=color, edgecolor=PAPER, linewidth=1.5, zorder=4))
        axes.text(x + DOT_RADIUS + 0.1, y, _dot_label(node), fontsize=8, color=MUTED, va="center", zorder=5)
        return
    width, height = size
    strength = math.sqrt(node.count / busiest)
    fill = blend(BOX_LIGHT, BOX_DARK, strength)
    text = PAPER if strength > 0.55 else INK
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.09",
            facecolor=fill, edgecolor=blend(fill, INK, 0.25), linewidth=0.8, zorder=4,
        )
    )  # fmt: skip
    axes.text(x, y + 0.09, "\n".join(_wrapped(node.label)), fontsize=9, color=text, ha="center", va="center",
              linespacing=1.1, zorder=5)  # fmt: skip
    axes.text(x, y - height / 2 + 0.12, f"{node.count:,}", fontsize=7.5, color=text, alpha=0.85, ha="center",
              va="center", zorder=5)  # fmt: skip


def _draw_edges(axes: Axes, graph: FlowGraph, layout: Layout, boxes: list[tuple[float, float]]) -> None:
    from matplotlib.path import Path

    most = max(edge.count for edge in graph.edges)
    worst = max([*(edge.wait_share for edge in graph.edges), 1e-9])
    taken = [
        (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        for (x, y), (width, height) in zip(layout.centers, boxes, strict=True)
    ]
    labels: list[tuple[Edge, Path, str]] = []
    routes = _with_ports(graph, layout.routes, boxes)
    for edge, route in zip(graph.edges, routes, strict=True):
        width = LINE_WIDTHS[0] + (LINE_WIDTHS[1] - LINE_WIDTHS[0]) * math.sqrt(edge.count / most)
        color = blend(COOL, HOT, math.sqrt(edge.wait_share / worst))
        curve = _loop(route[0], boxes[edge.source]) if edge.source == edge.target else _curve(route)
        _draw_arrow(axes, curve, width, color)
        labels.append((edge, curve, color))
    for edge, curve, color in sorted(labels, key=lambda label: -label[0].count):
        _draw_label(axes, edge, curve, color, taken)


def _with_ports(
    graph: FlowGraph, routes: tuple[tuple[Point, ...], ...], boxes: list[tuple[float, float]]
) -> list[list[Point]]:
    """Moves the ends of the routes to the rims of the boxes, side by side in the order of where they go."""
    shifted = [list(route) for route in routes]
    sides: dict[tuple[int, bool], list[tuple[float, int, int]]] = {}  # (node, top?) → (x beyond, edge, end)
    for number, (edge, route) in enumerate(zip(graph.edges, routes, strict=True)):
        if edge.source == edge.target:
            continue
        down = route[0][1] > route[-1][1]
        sides.setdefault((edge.source, not down), []).append((route[1][0], number, 0))
        sides.setdefault((edge.target, down), []).append((route[-2][0], number, -1))
    for (node, top), ends in sides.items():
        ends.sort()
        heaviest = max(range(len(ends)), key=lambda place: graph.edges[ends[place][1]].count)
        is_dot = graph.nodes[node].kind != "activity"
        room = 0.12 if is_dot else boxes[node][0] * 0.7
        step = min(PORT_GAP, room / max(1, len(ends) - 1))
        for place, (_, number, end) in enumerate(ends):
            x, y = shifted[number][end]
            rim = boxes[node][1] / 2 + (ARROW_GAP if end == -1 else 0.0)
            limit = boxes[node][0] / 2 - 0.12 if not is_dot else room
            aside = max(-limit, min(limit, (place - heaviest) * step))
            shifted[number][end] = (x + aside, y + rim if top else y - rim)
    return shifted


def _curve(points: list[Point]) -> Any:
    """A smooth path through the points that leaves and enters boxes vertically."""
    from matplotlib.path import Path

    vertices, codes = [points[0]], [Path.MOVETO]
    for (x1, y1), (x2, y2) in pairwise(points):
        reach = (y2 - y1) * 0.5
        vertices += [(x1, y1 + reach), (x2, y2 - reach), (x2, y2)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


def _loop(center: Point, size: tuple[float, float]) -> Any:
    from matplotlib.path import Path

    x, y = center[0] + size[0] / 2, center[1]
    vertices = [(x, y + 0.13), (x + 0.5, y + 0.36), (x + 0.5, y - 0.36), (x + 0.09, y - 0.13)]
    return Path(vertices, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _draw_arrow(axes: Axes, curve: Any, width: float, color: str) -> None:
    from matplotlib.patches import PathPatch, Polygon

    axes.add_patch(
        PathPatch(curve, facecolor="none", edgecolor=color, linewidth=width, alpha=0.9, capstyle="butt", zorder=2)
    )
    (x1, y1), (x2, y2) = curve.vertices[-2], curve.vertices[-1]
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    half = 0.045 + width * 0.0095
    tip = (x2 + dx * 0.09, y2 + dy * 0.09)
    back = (x2 - dx * 0.04, y2 - dy * 0.04)
    corners = [tip, (back[0] - dy * half, back[1] + dx * half), (back[0] + dy * half, back[1] - dx * half)]
    axes.add_patch(Polygon(corners, closed=True, facecolor=color, edgecolor="none", zorder=3))


def _draw_label(axes: Axes, edge: Edge, curve: Any, color: str, taken: list[tuple[float, float, float, float]]) -> None:
    text = f"{edge.count:,}"
    if not math.isnan(edge.median_hours):
        text += f" · {human_hours(edge.median_hours)}"
    width, height = len(text) * LABEL_SIZE[0] + 0.06, LABEL_SIZE[1]
    for place in LABEL_PLACES:
        x, y = (curve.vertices[-1][0] + 0.32 + width / 2, curve.vertices[0][1] - 0.13) if (
            edge.source == edge.target
        ) else _point_on(curve, place)  # fmt: skip
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            taken.append(box)
            axes.text(
                x, y, text, fontsize=7, color=blend(color, INK, 0.55), ha="center", va="center", zorder=6,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": GRID, "linewidth": 0.4},
            )  # fmt: skip
            return


def _point_on(curve: Any, place: float) -> Point:
    segments = (len(curve.vertices) - 1) // 3
    along = place * segments
    number = min(int(along), segments - 1)
    t = along - number
    p0, p1, p2, p3 = curve.vertices[3 * number : 3 * number + 4]
    point = (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3
    return float(point[0]), float(point[1])


def _legend(graph: FlowGraph) -> str:
    text = "Arrows: number of times · median time between. Wider = more often, redder = more of the waiting."
    hidden = [
        f"{count:,} rare {one if count == 1 else many}"
        for count, one, many in (
            (graph.hidden_activities, "activity", "activities"),
            (graph.hidden_edges, "connection", "connections"),
        )
        if count
    ]
    return text + (f"\nNot drawn: {' and '.join(hidden)}." if hidden else "")
