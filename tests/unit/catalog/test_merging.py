"""RFC 7396 merges and what documents keep of their cells."""

from __future__ import annotations

from typing import Any

import pytest

from services.catalog import cell_changes, merge
from services.catalog.cell_ids import Numbering
from services.catalog.document import Document, empty, metadata_with, new_cell
from services.catalog.limits import deeper_than
from services.catalog.merging import merge_patch
from services.catalog.model import Definition
from shared.contracts.notebooks import Environment, Integration
from shared.errors import Fault


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("metadata", "tags", "result"),
    [
        (None, None, {"tags": ["a"], "x": 1}),
        ({"x": 1}, ["a"], {"tags": ["a"], "x": 1}),
        ({"x": 2}, None, {"tags": ["a"], "x": 2}),
        ({}, None, {"tags": ["a"]}),
        ({}, [], {}),
        (None, ["b"], {"x": 1, "tags": ["b"]}),
        ({"tags": ["c"]}, None, {"tags": ["c"]}),
    ],
)
def test_metadata_and_tags(metadata: Any, tags: Any, result: Any) -> None:
    present = {"tags": ["a"], "x": 1}
    assert metadata_with(present, metadata, tags) == result
    assert present == {"tags": ["a"], "x": 1}


@pytest.mark.parametrize(
    ("present", "given", "shown", "wanted"),
    [
        (None, "3.11.2", "3.11.2", None),  # sent back as it was shown
        (None, "3.12", "3.11.2", "3.12"),
        ("3.10", "3.11.2", "3.11.2", "3.11.2"),
        ("3.10", None, "3.11.2", None),
        (None, "3.11.2", None, "3.11.2"),
    ],
)
def test_a_python_version_that_was_only_shown_is_not_asked_for(
    present: str | None, given: str | None, shown: str | None, wanted: str | None
) -> None:
    definition = Definition(
        name="a",
        description=None,
        kernel_type="python3",
        integration=Integration(),
        environment=Environment(python_version=present),
        document=Document(body=empty()),
    )
    patch = {"environment": {"pythonVersion": given, "packages": ["pandas"]}}
    updated = merge.update(definition, patch, Numbering(), shown_python=shown)
    assert (updated.environment.python_version, updated.environment.packages) == (wanted, ["pandas"])


def test_what_a_put_cannot_say_of_a_cell_stays() -> None:
    picture = {"a.png": {"image/png": "AAAA"}}
    body = empty()
    body["cells"] = [
        {**new_cell("text", "markdown", "![](attachment:a.png)"), "attachments": picture},
        new_cell("same", "code", "1"),
        new_cell("other", "code", "2"),
    ]
    outputs: dict[str, Any] = {name: {"outputs": [], "execution_count": 1} for name in ("same", "other")}
    document = Document(body=body, outputs=outputs)
    found: list[Fault] = []
    given = [
        {"cellType": "raw", "cellId": "text", "content": "![](attachment:a.png)"},
        {"cellType": "code", "content": "3", "cellId": "other"},
        {"cellType": "code", "content": "1", "cellId": "same", "metadata": {"x": 1}},
    ]
    changed = cell_changes.replaced(document, given, Numbering(), found)
    assert found == []
    assert changed.cells[0]["attachments"] == picture
    assert changed.outputs == {"same": {"outputs": [], "execution_count": 1}}
    assert document.body["cells"] is body["cells"]


def test_depth_is_measured_without_recursion() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert deeper_than({"a": 1, "b": deep}, 5) == ["b", 0, 0, 0, 0]
    assert deeper_than({"a": [{"b": [1]}]}, 4) is None
    assert deeper_than({"a": [{"b": [1]}]}, 3) == ["a", 0, "b"]
    while deep:  # taken apart by hand: freeing it would recurse
        deep = deep[0]
