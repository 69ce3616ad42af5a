"""Laws of history, on sequences of changes that nobody chose: contents stay, restores restore, diffs lead across."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from uuid import UUID

import nbformat
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbdime import patch_notebook

from shared.contracts.notebooks import (
    CreateNotebook,
    ExportNotebook,
    ImportNotebook,
    Integration,
    NotebookDraft,
    UpdateNotebook,
)
from shared.contracts.versions import DiffVersions, ListVersions, RestoreVersion
from tests.integration.catalog.conftest import Bench

TEXTS = st.text(
    st.one_of(
        st.sampled_from("\n\r\t \x0b\x0c\x1c\x85\u2028\\\"'<&é😀#"),
        st.characters(codec="utf-8", exclude_categories=["Cc"]),
    ),
    max_size=30,
)
NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
METADATA = st.dictionaries(TEXTS.map(lambda text: f"x{text}"), VALUES, max_size=3)
CELLS = st.lists(
    st.fixed_dictionaries(
        {"cellType": st.sampled_from(["code", "markdown", "raw"]), "content": TEXTS},
        optional={"cellId": st.sampled_from(["a", "b", "c", "cell-002"]), "metadata": METADATA},
    ),
    max_size=4,
    unique_by=lambda cell: str(cell.get("cellId") or id(cell)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("cells"), CELLS),
        st.tuples(st.just("name"), st.sampled_from(["One", "Two", "Three"])),
        st.tuples(st.just("restore"), st.integers(0, 9)),
    ),
    max_size=6,
)


def text_of(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


async def export(bench: Bench, notebook_id: UUID, version: str | None = None) -> dict[str, Any]:
    file = await bench.ask(ExportNotebook, notebook_id=notebook_id, version=version)
    content: dict[str, Any] = file.content
    return content


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(first=CELLS, steps=STEPS)
async def test_history(bench: Bench, first: list[dict[str, Any]], steps: list[tuple[str, Any]]) -> None:
    draft = NotebookDraft.model_validate({"notebookName": "Zero", "initialCells": first})
    created = await bench.ask(CreateNotebook, draft=draft)
    about: dict[str, Any] = {"notebook_id": created.notebook_id}
    seen = {created.notebook_version: text_of(await export(bench, created.notebook_id))}
    for kind, value in steps:
        order = list(seen)
        if kind == "restore":
            version = order[value % len(order)]
            changed = await bench.ask(RestoreVersion, **about, version=version)
            assert text_of(await export(bench, created.notebook_id)) == seen[version]
        else:
            patch = {"cells": value} if kind == "cells" else {"notebookName": value}
            changed = await bench.ask(UpdateNotebook, **about, patch=patch)
        present = text_of(await export(bench, created.notebook_id))
        assert seen.setdefault(changed.notebook_version, present) == present
    listed = await bench.ask(ListVersions, **about, page_size=100)
    assert [line.version for line in reversed(listed.versions)] == list(seen)
    assert (await bench.rows(created.notebook_id))["content"] == len({line.content_sha256 for line in listed.versions})
    for version, content in seen.items():
        assert text_of(await export(bench, created.notebook_id, version)) == content
    await diffs_lead_across(bench, created.notebook_id, list(seen))
    await uploads_say_the_same(bench, created.notebook_id, list(seen.values())[-1])


async def diffs_lead_across(bench: Bench, notebook_id: UUID, versions: list[str]) -> None:
    for a, b in [(versions[0], versions[-1]), (versions[-1], versions[0]), *pairwise(versions)]:
        diff = await bench.ask(DiffVersions, notebook_id=notebook_id, a=a, b=b)
        before, after = await export(bench, notebook_id, a), await export(bench, notebook_id, b)
        patched = patch_notebook(nbformat.from_dict(before), nbformat.from_dict(diff.diff))
        assert text_of(patched) == text_of(after)
        assert (diff.diff == []) == (text_of(before) == text_of(after))
        if a == b:
            assert diff.equal
        ids = {cell["id"] for cell in before["cells"]} | {cell["id"] for cell in after["cells"]}
        assert {cell.cell_id for cell in diff.cells} <= ids


async def uploads_say_the_same(bench: Bench, notebook_id: UUID, content: bytes) -> None:
    file = orjson.dumps(orjson.loads(content), option=orjson.OPT_INDENT_2).decode()
    uploaded = await bench.ask(
        ImportNotebook, file_name="again.ipynb", file=file, notebook_name="Again", integration=Integration()
    )
    assert uploaded.parsing.warnings == []
    assert text_of(await export(bench, uploaded.notebook_id)) == content
