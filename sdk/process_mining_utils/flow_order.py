"""Decides what comes first in a flow that has loops: the order that leaves the fewest events going backwards."""

from __future__ import annotations

from collections.abc import Sequence

Link = tuple[int, int, float]  # source, target, weight


def strongest_tree(links: Sequence[Link], root: int) -> list[tuple[int, int]]:
    """The links by which each node is reached from the root most strongly, in the order they are reached."""
    reached = {root}
    tree: list[tuple[int, int]] = []
    while True:
        outward = [(-weight, a, b) for a, b, weight in links if a in reached and b not in reached]
        if not outward:
            return tree
        _, a, b = min(outward)
        reached.add(b)
        tree.append((a, b))


def main_order(nodes: int, links: Sequence[Link]) -> list[int]:
    """All nodes, the start (node 0) first and the end (the last node) last; every node after the way that leads to it.

    Starts with the order in which the nodes are reached and moves single nodes while that turns more weight forward.
    """
    tree = strongest_tree(links, 0)
    bound = set(tree)
    order = [0, *(b for _, b in tree)]
    order += [node for node in range(nodes) if node not in order]
    order.remove(nodes - 1)
    order.append(nodes - 1)
    weights: dict[tuple[int, int], float] = {}
    for a, b, weight in links:
        # Reaching every node from above is worth more than all else.
        weights[a, b] = weights.get((a, b), 0.0) + weight + (1e12 if (a, b) in bound else 0.0)
    improved = True
    while improved:
        improved = False
        for node in order[1:-1]:
            place = order.index(node)
            rest = order[:place] + order[place + 1 :]
            gains = _gains(node, rest, weights)
            best = max(range(1, len(rest)), key=lambda at: (gains[at], -abs(at - place)))
            if gains[best] > gains[place]:
                order = [*rest[:best], node, *rest[best:]]
                improved = True
    return order


def _gains(node: int, rest: Sequence[int], weights: dict[tuple[int, int], float]) -> list[float]:
    """The weight that leads forward from and to the node for every place it could be put at."""
    forward = sum(weights.get((node, other), 0.0) for other in rest)
    gains = [forward]
    for other in rest:
        forward += weights.get((other, node), 0.0) - weights.get((node, other), 0.0)
        gains.append(forward)
    return gains
