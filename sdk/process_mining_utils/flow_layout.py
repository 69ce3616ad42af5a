"""Places the nodes of a flow graph in layers from top to bottom and routes its edges around them.

The usual four steps (Sugiyama, Tagawa and Toda 1981): turn edges that lead back, give every node a layer, order each
layer so that few edges cross, and move nodes sideways until edges run straight. Units are inches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from process_mining_utils.flow_order import main_order

LAYER_GAP = 0.70  # between the boxes of two layers: room for an arrow and its label
NODE_GAP = 0.42
BEND_WIDTH = 0.30  # what an edge needs where it passes a layer
ORDER_SWEEPS = 12
STRAIGHTEN_SWEEPS = 150
BEND_WEIGHTS = (1.0, 2.0, 8.0)
"""Pull between two boxes, a box and a bend, two bends: a long edge should rather be straight than its ends centred."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where everything goes; y grows upwards, 0 is the middle of the top layer."""

    centers: tuple[tuple[float, float], ...]  # of the nodes
    routes: tuple[tuple[tuple[float, float], ...], ...]  # of the edges, from source to target, both included
    left: float
    right: float
    bottom: float


def layered_layout(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int, float]]) -> Layout:
    """Lays out nodes of the given sizes; node 0 is the start. An edge is (source, target, weight)."""
    rank_of = {node: place for place, node in enumerate(main_order(len(sizes), edges))}
    forward = [
        (a, b, w) if rank_of[a] < rank_of[b] else (b, a, w)  # an edge that leads back is laid out as its reverse
        for a, b, w in edges
        if a != b
    ]
    layer = _layers(len(sizes), forward, rank_of)
    widths = [width for width, _ in sizes]
    links: list[tuple[int, int, float]] = []
    chains: list[list[int]] = []
    for a, b, weight in forward:
        chain = [a]
        for level in range(layer[a] + 1, layer[b]):
            layer.append(level)
            widths.append(BEND_WIDTH)
            chain.append(len(widths) - 1)
        chain.append(b)
        chains.append(chain)
        links.extend((x, y, weight) for x, y in pairwise(chain))
    rows = _ordered_rows(layer, links, rank_of)
    x = _straightened(rows, widths, links, nodes=len(sizes))
    heights = [max((sizes[node][1] for node in row if node < len(sizes)), default=0.3) for row in rows]
    y_of_row = [0.0]
    for above, below in pairwise(heights):
        y_of_row.append(y_of_row[-1] - above / 2 - LAYER_GAP - below / 2)
    y = [y_of_row[level] for level in layer]
    routes: list[tuple[tuple[float, float], ...]] = []
    chain_of = iter(chains)
    for a, b, _ in edges:
        if a == b:
            routes.append(((x[a], y[a]), (x[a], y[a])))
            continue
        chain = next(chain_of)
        points: list[tuple[float, float]] = [(x[chain[0]], y[chain[0]])]
        for bend in chain[1:-1]:  # straight past the boxes of a layer, so that curves keep to the gaps
            half = heights[layer[bend]] / 2
            points += [(x[bend], y[bend] + half), (x[bend], y[bend] - half)]
        points.append((x[chain[-1]], y[chain[-1]]))
        routes.append(tuple(points if chain[0] == a else points[::-1]))
    return Layout(
        centers=tuple(zip(x[: len(sizes)], y[: len(sizes)], strict=True)),
        routes=tuple(routes),
        left=min(place - width / 2 for place, width in zip(x, widths, strict=True)),
        right=max(place + width / 2 for place, width in zip(x, widths, strict=True)),
        bottom=min(y) - heights[-1] / 2,
    )


def _layers(nodes: int, forward: Sequence[tuple[int, int, float]], rank_of: dict[int, int]) -> list[int]:
    """The longest path from the top, so that every edge leads at least one layer down."""
    layer = [0] * nodes
    for node in sorted(range(nodes), key=lambda number: rank_of[number]):
        layer[node] = max((layer[a] + 1 for a, b, _ in forward if b == node), default=0)
    return layer


def _ordered_rows(
    layer: Sequence[int], links: Sequence[tuple[int, int, float]], rank_of: dict[int, int]
) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for node, level in enumerate(layer):
        rows[level].append(node)
    for row in rows:
        row.sort(key=lambda node: rank_of.get(node, len(layer) + node))
    best, fewest = [row[:] for row in rows], _crossings(rows, links)
    for sweep in range(ORDER_SWEEPS):
        down = sweep % 2 == 0
        place = {node: index for row in rows for index, node in enumerate(row)}
        neighbours: dict[int, list[tuple[int, float]]] = {}
        for a, b, weight in links:
            neighbours.setdefault(b if down else a, []).append((a if down else b, weight))
        for row in rows if down else rows[::-1]:
            row.sort(key=lambda node: _center(node, neighbours.get(node), place))
            place.update({node: index for index, node in enumerate(row)})
        crossings = _crossings(rows, links)
        if crossings < fewest:
            best, fewest = [row[:] for row in rows], crossings
    return best


def _center(node: int, neighbours: list[tuple[int, float]] | None, place: dict[int, int]) -> float:
    if not neighbours:
        return float(place[node])
    whole = sum(weight for _, weight in neighbours)
    return sum(place[other] * weight for other, weight in neighbours) / whole


def _crossings(rows: Sequence[Sequence[int]], links: Sequence[tuple[int, int, float]]) -> float:
    place = {node: (level, index) for level, row in enumerate(rows) for index, node in enumerate(row)}
    by_layer: dict[int, list[tuple[int, int, float]]] = {}
    for a, b, weight in links:
        by_layer.setdefault(place[a][0], []).append((place[a][1], place[b][1], weight))
    total = 0.0
    for spans in by_layer.values():
        for number, (a, b, weight) in enumerate(spans):
            for c, d, other in spans[number + 1 :]:
                if (a - c) * (b - d) < 0:
                    total += min(weight, other)
    return total


def _straightened(
    rows: Sequence[Sequence[int]], widths: Sequence[float], links: Sequence[tuple[int, int, float]], nodes: int
) -> list[float]:
    x = [0.0] * len(widths)
    for row in rows:
        _spread(row, [float(index) for index in range(len(row))], [1.0] * len(row), widths, x)
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for a, b, weight in links:
        pull = math.sqrt(weight) * BEND_WEIGHTS[(a >= nodes) + (b >= nodes)]
        neighbours.setdefault(a, []).append((b, pull))
        neighbours.setdefault(b, []).append((a, pull))
    for sweep in range(STRAIGHTEN_SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted, pulls = [], []
            for node in row:
                around = neighbours.get(node, [])
                pull = sum(weight for _, weight in around) or 1e-6
                wanted.append(sum(x[other] * weight for other, weight in around) / pull if around else x[node])
                pulls.append(pull)
            _spread(row, wanted, pulls, widths, x)
    return x


def _spread(
    row: Sequence[int], wanted: Sequence[float], pulls: Sequence[float], widths: Sequence[float], x: list[float]
) -> None:
    """Puts a row as near to its wanted places as gaps allow: least squares, by pooling adjacent violators."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + widths[left] / 2 + NODE_GAP + widths[right] / 2)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for place, pull, offset in zip(wanted, pulls, offsets, strict=True):
        mean, weight, members = place - offset, pull, 1
        while pools and pools[-1][0] > mean:
            before, before_weight, before_members = pools.pop()
            mean = (mean * weight + before * before_weight) / (weight + before_weight)
            weight, members = weight + before_weight, members + before_members
        pools.append((mean, weight, members))
    means = [mean for mean, _, members in pools for _ in range(members)]
    for node, mean, offset in zip(row, means, offsets, strict=True):
        x[node] = mean + offset
