"""Picks the part of a directly-follows graph that is worth drawing: the main activities and their main connections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from process_mining_utils.flow_order import strongest_tree
from process_mining_utils.sequence import EventSequence, read_sequence

START = "start"
END = "end"
EDGES_PER_NODE = 1.7  # beyond about this a drawing of a flow becomes a ball of wool


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """An activity, or the start or end of all cases."""

    label: str
    kind: str  # "activity", START or END
    count: int  # events; cases for start and end


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """One directly follows the other."""

    source: int  # index of the node
    target: int
    count: int
    median_hours: float  # NaN where unknown and for the connections of start and end
    wait_share: float  # of all waiting in the drawn part, 0 to 1


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowGraph:
    """What is drawn, and how much is not."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    hidden_activities: int
    hidden_edges: int


def flow_graph(
    df: pd.DataFrame, *, case: str, activity: str, time: str, include_weekends: bool, max_activities: int
) -> FlowGraph:
    """Keeps the most frequent activities and, among them, the strongest way in and out of each and the main edges.

    Rare activities are taken out of the paths first, so that what is left stays connected.
    """
    steps = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends).steps()
    counts = np.bincount(steps.activity, minlength=len(steps.activities))
    frequent = np.argsort(-counts, kind="stable")[:max_activities]
    drawn = _only(steps, frequent)
    nodes = _nodes(drawn, frequent, counts)
    if not nodes:
        return FlowGraph(nodes=(), edges=(), hidden_activities=0, hidden_edges=0)
    edges = _edges(drawn, frequent, len(nodes))
    kept = _main_edges(edges, len(nodes))
    return FlowGraph(
        nodes=nodes,
        edges=tuple(kept),
        hidden_activities=int((counts > 0).sum()) - len(frequent),
        hidden_edges=len(edges) - len(kept),
    )


def _only(steps: EventSequence, activities: np.ndarray) -> EventSequence:
    keep = np.isin(steps.activity, activities)
    return EventSequence(
        position=steps.position[keep],
        case=steps.case[keep],
        cases=steps.cases,
        activity=steps.activity[keep],
        activities=steps.activities,
        hours=steps.hours[keep],
        times=steps.times[keep].reset_index(drop=True),
    )


def _nodes(steps: EventSequence, frequent: np.ndarray, counts: np.ndarray) -> tuple[Node, ...]:
    if len(steps.case) == 0:
        return ()
    cases = len(np.unique(steps.case))
    inner = [Node(label=str(steps.activities[code]), kind="activity", count=int(counts[code])) for code in frequent]
    return (
        Node(label=f"{cases:,} cases", kind=START, count=cases),
        *inner,
        Node(label=f"{cases:,} cases", kind=END, count=cases),
    )


def _edges(steps: EventSequence, frequent: np.ndarray, nodes: int) -> list[Edge]:
    number = {int(code): position for position, code in enumerate(frequent, start=1)}
    node = np.array([number[int(code)] for code in steps.activity])
    follows = np.flatnonzero(steps.same_case_as_previous())
    pairs = pd.DataFrame(
        {"source": node[follows - 1], "target": node[follows], "hours": steps.hours_since_previous()[follows]}
    )
    table = pairs.groupby(["source", "target"])["hours"].agg(["size", "median", "sum"]).reset_index()
    whole = max(float(table["sum"].sum()), 1e-9)
    edges = [
        Edge(source=int(source), target=int(target), count=int(size), median_hours=float(median),
             wait_share=float(waited) / whole)
        for source, target, size, median, waited in table.itertuples(index=False)
    ]  # fmt: skip
    first = ~steps.same_case_as_previous()
    last = np.append(first[1:], True)
    for marker, begins in ((first, True), (last, False)):
        ends, sizes = np.unique(node[marker], return_counts=True)
        for end, size in zip(ends, sizes, strict=True):
            source, target = (0, int(end)) if begins else (int(end), nodes - 1)
            edges.append(Edge(source=source, target=target, count=int(size), median_hours=float("nan"), wait_share=0.0))
    return edges


def _main_edges(edges: list[Edge], nodes: int) -> list[Edge]:
    """The strongest ways from the start to every node and from every node to the end, then the most frequent others."""
    links = [(edge.source, edge.target, float(edge.count)) for edge in edges]
    tree = strongest_tree(links, 0) + [(a, b) for b, a in strongest_tree([(b, a, w) for a, b, w in links], nodes - 1)]
    by_ends = {(edge.source, edge.target): edge for edge in edges}
    kept = {ends: by_ends[ends] for ends in tree}
    for edge in sorted(edges, key=lambda edge: (-edge.count, edge.source, edge.target)):
        if len(kept) >= int(EDGES_PER_NODE * nodes):
            break
        kept.setdefault((edge.source, edge.target), edge)
    return sorted(kept.values(), key=lambda edge: edge.count)
