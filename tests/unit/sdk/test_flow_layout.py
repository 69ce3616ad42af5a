"""The layout of the process drawing: an order with few steps back, boxes that do not overlap, a page that is safe."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pandas as pd
import process_mining_utils as pm
from process_mining_utils.flow_graph import flow_graph
from process_mining_utils.flow_layout import layered_layout
from process_mining_utils.flow_order import main_order, strongest_tree

NAMES: dict[str, Any] = {"case": pm.CASE, "activity": pm.ACTIVITY, "time": pm.TIME}


def log_of(*paths: str) -> pd.DataFrame:
    rows = [
        (str(case), activity, pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(hours=hour))
        for case, path in enumerate(paths)
        for hour, activity in enumerate(path)
    ]
    return pd.DataFrame(rows, columns=[pm.CASE, pm.ACTIVITY, pm.TIME])


def test_the_main_order_puts_loops_back() -> None:
    links = [(0, 1, 100.0), (1, 2, 90.0), (2, 1, 20.0), (2, 3, 80.0), (3, 4, 80.0), (3, 2, 10.0)]
    assert main_order(5, links) == [0, 1, 2, 3, 4]


def test_the_strongest_tree_reaches_everything_once() -> None:
    tree = strongest_tree([(0, 1, 1.0), (0, 2, 5.0), (2, 1, 3.0), (1, 2, 9.0)], 0)
    assert tree == [(0, 2), (2, 1)]


def test_boxes_of_a_layer_keep_apart_and_edges_join_their_boxes() -> None:
    draw = random.Random(1)
    for _ in range(20):
        count = draw.randrange(3, 12)
        edges = [(node, node + 1, draw.random() * 100 + 1) for node in range(count - 1)]
        edges += [(draw.randrange(count), draw.randrange(count), draw.random() * 100 + 1) for _ in range(count)]
        sizes = [(1.0 + draw.random(), 0.5) for _ in range(count)]
        layout = layered_layout(sizes, edges)
        for (one, (x1, y1)), (two, (x2, y2)) in itertools.combinations(enumerate(layout.centers), 2):
            if y1 == y2:
                assert abs(x1 - x2) >= (sizes[one][0] + sizes[two][0]) / 2
        for (source, target, _), route in zip(edges, layout.routes, strict=True):
            assert route[0] == layout.centers[source]
            assert route[-1] == layout.centers[target]
        assert layout.left < layout.right
        assert layout.bottom < 0


def test_the_graph_keeps_the_main_flow_and_counts_the_rest() -> None:
    paths = ["abcd"] * 50 + ["acbd"] * 5 + ["abxcd"] + ["abbcd"] * 3
    graph = flow_graph(log_of(*paths), **NAMES, include_weekends=True, max_activities=4)
    labels = [node.label for node in graph.nodes]
    assert sorted(labels[1:-1]) == ["a", "b", "c", "d"]
    assert graph.hidden_activities == 1
    edges = {(labels[edge.source], labels[edge.target]): edge.count for edge in graph.edges}
    assert edges["a", "b"] == 54
    assert edges["b", "c"] == 54  # the rare x is taken out of its path, which stays connected
    assert edges["59 cases", "a"] == 59


def test_every_activity_is_reached_and_left() -> None:
    draw = random.Random(2)
    for _ in range(20):
        paths = ["".join(draw.choice("abcdefgh") for _ in range(draw.randrange(1, 9))) for _ in range(30)]
        graph = flow_graph(log_of(*paths), **NAMES, include_weekends=True, max_activities=8)
        reached, frontier = {0}, [0]
        while frontier:
            node = frontier.pop()
            new = {edge.target for edge in graph.edges if edge.source == node} - reached
            reached |= new
            frontier += new
        assert reached == set(range(len(graph.nodes)))


def test_an_empty_log_has_no_graph() -> None:
    assert flow_graph(log_of(), **NAMES, include_weekends=True, max_activities=5).nodes == ()


def test_reports_escape_every_value() -> None:
    bad = "<script>alert('x')</script>&\""
    report = pm.Report(bad, bad)
    report.tiles({bad: bad})
    report.notes(bad, [bad])
    report.section(bad, bad)
    report.table(pd.DataFrame({bad: [bad, None]}))
    report.table(pd.DataFrame({"x": [1.5]}), {"x": lambda value: bad})
    report.figure(b"\x89PNG", bad)
    page = report.html()
    assert "<script" not in page
    assert "alert(&#x27;x&#x27;)" in page
    assert "http" not in page
    assert page.count("<section") == page.count("</section>") == 2


def test_report_tables_say_how_much_they_show() -> None:
    report = pm.Report("t")
    report.section("s")
    report.table(pd.DataFrame({"n": range(60), "when": pd.Timestamp("2024-01-01"), "p90_hours": float("nan")}), rows=50)
    report.table(pd.DataFrame({"n": []}))
    page = report.html()
    assert "50 of 60 rows." in page
    assert "<td>2024-01-01 00:00</td>" in page
    assert '<td class="number">\N{EN DASH}</td>' in page
    assert '<td colspan="1">none</td>' in page
