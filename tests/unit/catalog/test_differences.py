"""Differences between two notebooks: exact for programs, readable for people, whatever the notebooks hold."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import nbformat
import orjson
import pytest
from nbdime import patch_notebook

from services.catalog.differences import cells, page, settings
from services.catalog.differences.nbdime_diff import exact_diff
from services.catalog.differences.operations import plain
from services.catalog.document import Document
from services.catalog.model import Definition
from shared.contracts.notebooks import Environment, Integration
from shared.contracts.versions import NotebookDiff, SettingDifference

Json = dict[str, Any]


def code(cell_id: str, source: str, **members: Any) -> Json:
    return {
        "id": cell_id,
        "cell_type": "code",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    } | members


def notebook(*given: Json, **metadata: Any) -> Json:
    return {"cells": list(given), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def applied(a: Json, diff: list[Json]) -> Json:
    """What a client gets who applies the diff, after both travelled as JSON."""
    entries = nbformat.from_dict(json.loads(json.dumps(diff)))
    patched: Json = json.loads(json.dumps(patch_notebook(nbformat.from_dict(json.loads(json.dumps(a))), entries)))
    return patched


A, B, C = code("a", "x = 1\n"), code("b", "y = 2\nz = 3"), code("c", "print(x)")
PAIRS = {
    "nothing": (notebook(A, B), notebook(A, B)),
    "edited": (notebook(A, B), notebook(A, code("b", "y = 2\nz = 4"))),
    "added and removed": (notebook(A, B), notebook(B, C)),
    "moved": (notebook(A, B, C), notebook(C, A, B)),
    "emptied": (notebook(A, B, C), notebook()),
    "filled": (notebook(), notebook(A, B, C)),
    "another id": (notebook(A), notebook(code("q", "x = 1\n"))),
    "a type": (
        notebook(A),
        notebook({"id": "a", "cell_type": "markdown", "metadata": {}, "source": "x = 1\n"}),
    ),
    "a number's kind": (notebook(A, kept=1), notebook(A, kept=1.0)),
    "a truth": (notebook(code("a", "x", metadata={"on": True})), notebook(code("a", "x", metadata={"on": 1}))),
    "line ends": (notebook(code("a", "x\r\ny\r\n")), notebook(code("a", "x\ny\n"))),
    "odd line ends": (notebook(code("a", "x\x0by\u2028z")), notebook(code("a", "x\x0bq\u2028z"))),
    "text without a line end": (notebook(code("a", "")), notebook(code("a", "\n"))),
    "list or object": (notebook(A, odd=[1, {"q": []}]), notebook(A, odd={"0": 1})),
    "nested lists": (notebook(A, odd=[[1, 2], [3]]), notebook(A, odd=[[1], [3, 4], []])),
    "outputs": (
        notebook(code("a", "x", outputs=[{"output_type": "stream", "name": "stdout", "text": "1\n"}])),
        notebook(
            code(
                "a",
                "x",
                outputs=[
                    {"output_type": "stream", "name": "stderr", "text": "1\n"},
                    {"output_type": "display_data", "data": {"image/png": "aGk="}, "metadata": {}},
                ],
                execution_count=3,
            )
        ),
    ),
    "attachments": (
        notebook({"id": "m", "cell_type": "markdown", "metadata": {}, "source": "!", "attachments": {}}),
        notebook(
            {
                "id": "m",
                "cell_type": "markdown",
                "metadata": {},
                "source": "!",
                "attachments": {"a.png": {"image/png": "aGk="}},
            }
        ),
    ),
    "the kernel": (
        notebook(A, kernelspec={"name": "python3", "display_name": "3"}),
        notebook(A, kernelspec={"name": "ir", "display_name": "R"}),
    ),
    "values of other kinds": (notebook(A, odd={"k": "text"}), notebook(A, odd={"k": None})),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("way", ["nbdime", "plain"])
def test_applying_the_diff_gives_the_other(pair: tuple[Json, Json], way: str) -> None:
    for a, b in (pair, pair[::-1]):
        found = plain(a, b) if way == "plain" else exact_diff(a, b)
        if found is None:
            continue  # nbdime cannot say it exactly: then the plain way, tested beside, is the answer
        assert orjson.dumps(applied(a, found), option=orjson.OPT_SORT_KEYS) == orjson.dumps(
            b, option=orjson.OPT_SORT_KEYS
        )
        assert (found == []) == (orjson.dumps(a) == orjson.dumps(b))


def test_nbdime_answers_ordinary_pairs() -> None:
    beyond = {name for name, (a, b) in PAIRS.items() if exact_diff(a, b) is None}
    assert beyond <= {"a number's kind", "a truth", "odd line ends", "a type", "text without a line end"}


def test_one_diff_leaves_nothing_behind_for_the_next() -> None:
    lists, words = notebook(A, odd={"k": [[1], [2]]}), notebook(A, odd={"k": [[1], [3]]})
    texts = notebook(A, odd={"k": {"a": 1}}), notebook(A, odd={"k": {"a": "1"}})
    assert exact_diff(lists, words)
    first = exact_diff(*texts)
    assert first
    assert exact_diff(lists, words)
    assert exact_diff(*texts) == first


def changes(a: Json, b: Json) -> list[tuple[str, str]]:
    return [(found.cell_id, found.change) for found in cells.compare(a["cells"], b["cells"])]


def test_cells_are_known_by_their_ids() -> None:
    assert changes(*PAIRS["nothing"]) == []
    assert changes(*PAIRS["edited"]) == [("b", "changed")]
    assert changes(*PAIRS["added and removed"]) == [("a", "removed"), ("c", "added")]
    assert changes(*PAIRS["moved"]) == [("c", "moved")]
    assert changes(*PAIRS["a truth"]) == [("a", "changed")]


def test_a_changed_cell_says_what_changed() -> None:
    (found,) = cells.compare([B], [code("b", "y = 2\nz = 4\n", metadata={"tags": ["q"]})])
    assert found.parts == ["source", "metadata"]
    assert found.lines == [" y = 2", "-z = 3", "\\ no newline here", "+z = 4"]
    assert (found.index_a, found.index_b) == (0, 0)
    (found,) = cells.compare(*(each["cells"] for each in PAIRS["outputs"]))
    assert found.parts == ["outputs"]
    assert found.lines is None


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("a\r\nb\r\n", "a\nb\r\n", ["-a\r", "+a", " b\r"]),
        ("a\nb\n", "a\nb", [" a", "-b", "+b", "\\ no newline here"]),
        ("a", "a\n", ["-a", "\\ no newline here", "+a"]),
        ("a", "a\nb", [" a", "+b"]),
        ("", "\n", ["+"]),
        ("", "a", ["+a"]),
        ("a\n\n", "a\n", [" a", "-"]),
        ("a\x0bb\u2028c", "a\x0bb\nc", ["-a\x0bb\u2028c", "+a\x0bb", "+c"]),
        ("a\rb", "a\nb", ["-a\rb", "+a", "+b"]),
    ],
)
def test_every_change_of_a_source_shows_in_its_lines(before: str, after: str, lines: list[str]) -> None:
    (found,) = cells.compare([code("a", before)], [code("a", after)])
    assert found.lines == lines


def test_the_page_shows_line_ends() -> None:
    shown = page.render(diff_of(notebook(code("a", "x\r\ny\u2028z")), notebook(code("a", "x\ny\u2028z\n"))), "n")
    assert '<span class="minus">-x␍</span><span class="minus">-y␤z</span>' in shown
    assert '<span class="gap">\\ no newline here</span>' in shown
    assert '<span class="plus">+x</span><span class="plus">+y␤z</span>' in shown


@pytest.mark.parametrize(("before", "after"), [(1, 1.0), (1, True), (0.0, False)])
def test_settings_are_compared_as_json(before: Any, after: Any) -> None:
    a, b = (
        Definition(
            name="n",
            description=None,
            kernel_type="python3",
            integration=Integration(schedule_parameters={"days": value}),
            environment=Environment(),
            document=Document(body=notebook(A)),
        )
        for value in (before, after)
    )
    assert a.fingerprint() != b.fingerprint()  # two versions
    (found,) = settings.compare(a, b)
    assert found.path == "integration.scheduleParameters"
    assert settings.compare(a, a) == []


def test_many_moved_cells_take_no_time() -> None:
    many = [code(f"c{number}", "x") for number in range(10_000)]
    assert len(cells.compare(many, many[::-1])) == len(many) - 1
    assert [(found.cell_id, found.change) for found in cells.compare(many, [many[-1], *many[:-1]])] == [
        ("c9999", "moved")
    ]


def diff_of(a: Json, b: Json, *settings: SettingDifference) -> NotebookDiff:
    return NotebookDiff(
        notebook_id=UUID(int=1),
        a="1.0.0",
        b="1.1.0",
        equal=a == b and not settings,
        settings=list(settings),
        cells=cells.compare(a["cells"], b["cells"]),
        diff=plain(a, b),
    )


def test_the_page_shows_the_change_and_runs_nothing() -> None:
    hostile = "</pre><script>alert(1)</script>"
    setting = SettingDifference(path="notebookName", a="<b>", b={"x": "<i>"})
    shown = page.render(diff_of(notebook(A, B), notebook(A, code("b", hostile)), setting), "<h1>name")
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "<h1>name" not in shown
    assert "1 cell changed, 1 setting changed." in shown
    assert '<span class="minus">-y = 2</span>' in shown
    assert not any(word in shown for word in ("http://", "https://", "src=", "href=", "<b>", "<i>"))


def test_the_page_shows_a_change_in_a_long_cell_with_a_few_lines_around() -> None:
    lines = [f"line {number}" for number in range(100)]
    after = [*lines[:50], "another", *lines[51:]]
    shown = page.render(diff_of(notebook(code("a", "\n".join(lines))), notebook(code("a", "\n".join(after)))), "n")
    assert "line 47" in shown
    assert "line 46" not in shown
    assert shown.count("⋯") == 2


def test_the_page_of_equal_versions_says_so() -> None:
    assert "The two versions are equal." in page.render(diff_of(notebook(A), notebook(A)), "n")
