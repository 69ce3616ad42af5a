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
    AddCell,
    CellDraft,
    DeleteCell,
    ExportNotebook,
    ImportNotebook,
    Integration,
    Notebook,
    UpdateCell,
    UpdateNotebook,
)
from shared.contracts.versions import DiffVersions, GetVersion, ListVersions, RestoreVersion
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
OUTPUTS = st.one_of(
    st.fixed_dictionaries({"output_type": st.just("stream"), "name": st.just("stdout"), "text": TEXTS}),
    st.fixed_dictionaries(
        {
            "output_type": st.just("display_data"),
            "data": st.fixed_dictionaries({"text/plain": TEXTS, "application/json": VALUES}),
            "metadata": METADATA,
        }
    ),
)
CELL_IDS = st.sampled_from(["a", "b", "c", "cell-002"])
FILE_CELLS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "id": CELL_IDS,
                "cell_type": st.just("code"),
                "source": TEXTS,
                "metadata": METADATA,
                "outputs": st.lists(OUTPUTS, max_size=2),
                "execution_count": st.one_of(st.none(), st.integers(0, 99)),
            }
        ),
        st.fixed_dictionaries(
            {"id": CELL_IDS, "cell_type": st.sampled_from(["markdown", "raw"]), "source": TEXTS, "metadata": METADATA},
            optional={"attachments": st.dictionaries(TEXTS, st.just({"image/png": "aGk="}), max_size=2)},
        ),
    ),
    max_size=4,
    unique_by=lambda cell: str(cell["id"]),
)
CELL = st.fixed_dictionaries(
    {"cellType": st.sampled_from(["code", "markdown", "raw"]), "content": TEXTS}, optional={"metadata": METADATA}
)
CELLS = st.lists(
    st.fixed_dictionaries(
        {"cellType": st.sampled_from(["code", "markdown", "raw"]), "content": TEXTS},
        optional={"cellId": CELL_IDS, "metadata": METADATA},
    ),
    max_size=4,
    unique_by=lambda cell: str(cell.get("cellId") or id(cell)),
)
CELL_PATCHES = st.one_of(
    st.fixed_dictionaries({"content": TEXTS}),
    st.fixed_dictionaries({"metadata": METADATA}),
    st.fixed_dictionaries({"cellType": st.sampled_from(["code", "markdown", "raw"])}),
)
PATCHES = st.one_of(
    st.fixed_dictionaries({"cells": CELLS}),
    st.fixed_dictionaries({"notebookName": st.sampled_from(["One", "Two", "Three"])}),
    st.fixed_dictionaries({"notebookDescription": st.one_of(st.none(), st.sampled_from(["", "What it is for"]))}),
    st.fixed_dictionaries({"kernelType": st.sampled_from(["python3", "r", "scala"])}),
    st.fixed_dictionaries({"environment": st.fixed_dictionaries({"packages": st.sampled_from([[], ["numpy"]])})}),
    st.fixed_dictionaries(
        {
            "integration": st.one_of(
                st.fixed_dictionaries({"outputFormat": st.sampled_from(["csv", "none"])}),
                st.fixed_dictionaries({"errorPolicy": st.sampled_from(["stop", "continue", None])}),
                # Equal to Python, and three values to JSON.
                st.fixed_dictionaries({"scheduleParameters": st.sampled_from([{"n": 1}, {"n": 1.0}, {"n": True}])}),
            )
        }
    ),
)
NUMBER = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("patch"), PATCHES),
        st.tuples(st.just("add"), CELL),
        st.tuples(st.just("cell"), st.tuples(NUMBER, CELL_PATCHES)),
        st.tuples(st.just("drop"), NUMBER),
        st.tuples(st.just("restore"), NUMBER),
        st.tuples(st.just("upload"), st.none()),
    ),
    max_size=7,
)


def text_of(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


async def export(bench: Bench, notebook_id: UUID, version: str | None = None) -> dict[str, Any]:
    file = await bench.ask(ExportNotebook, notebook_id=notebook_id, version=version)
    content: dict[str, Any] = file.content
    return content


async def step(bench: Bench, notebook: Notebook, order: list[str], kind: str, value: Any) -> Notebook:
    """The notebook after one change; the same where there is no cell to change."""
    about: dict[str, Any] = {"notebook_id": notebook.notebook_id}
    changed: Notebook = notebook
    if kind == "patch":
        changed = await bench.ask(UpdateNotebook, **about, patch=value)
    elif kind == "restore":
        changed = await bench.ask(RestoreVersion, **about, version=order[value % len(order)])
    elif kind == "add":
        changed = await bench.ask(AddCell, **about, cell=CellDraft.model_validate(value))
    elif kind == "upload":
        await uploads_say_the_same(bench, notebook.notebook_id)
    elif notebook.cells:
        number, patch = value if kind == "cell" else (value, None)
        about["cell_id"] = notebook.cells[number % len(notebook.cells)].cell_id
        changed = await bench.ask(UpdateCell, **about, patch=patch) if patch else await bench.ask(DeleteCell, **about)
    return changed


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(first=FILE_CELLS, steps=STEPS)
async def test_history(bench: Bench, first: list[dict[str, Any]], steps: list[tuple[str, Any]]) -> None:
    file = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": first}
    created: Notebook = await bench.ask(
        ImportNotebook,
        file_name="a.ipynb",
        file=orjson.dumps(file).decode(),
        notebook_name="Zero",
        integration=Integration(),
    )
    about: dict[str, Any] = {"notebook_id": created.notebook_id}
    uploaded = await export(bench, created.notebook_id)
    assert text_of(uploaded["cells"]) == text_of(first)  # outputs and attachments included
    seen = {created.notebook_version: text_of(uploaded)}
    notebook = created
    for kind, value in steps:
        order = list(seen)
        notebook = await step(bench, notebook, order, kind, value)
        present = text_of(await export(bench, created.notebook_id))
        assert seen.setdefault(notebook.notebook_version, present) == present
        if kind == "restore":
            assert present == seen[order[value % len(order)]]
    listed = await bench.ask(ListVersions, **about, page_size=100)
    assert [line.version for line in reversed(listed.versions)] == list(seen)
    assert (await bench.rows(created.notebook_id))["content"] == len({line.content_sha256 for line in listed.versions})
    for version, content in seen.items():
        assert text_of(await export(bench, created.notebook_id, version)) == content
    await diffs_lead_across(bench, created.notebook_id, list(seen))
    await uploads_say_the_same(bench, created.notebook_id)


async def diffs_lead_across(bench: Bench, notebook_id: UUID, versions: list[str]) -> None:
    for a, b in [(versions[0], versions[-1]), (versions[-1], versions[0]), *pairwise(versions)]:
        diff = await bench.ask(DiffVersions, notebook_id=notebook_id, a=a, b=b)
        before, after = await export(bench, notebook_id, a), await export(bench, notebook_id, b)
        patched = patch_notebook(nbformat.from_dict(before), nbformat.from_dict(diff.diff))
        assert text_of(patched) == text_of(after)
        assert (diff.diff == []) == (text_of(before) == text_of(after))
        settings_before, settings_after = await members(bench, notebook_id, a), await members(bench, notebook_id, b)
        for setting in diff.settings:
            assert text_of(settings_before[setting.path]) == text_of(setting.a)
            settings_before[setting.path] = setting.b
        assert text_of(settings_before) == text_of(settings_after)
        assert diff.equal == (not diff.diff and not diff.settings)
        assert diff.equal == (text_of(before) == text_of(after) and not diff.settings)
        ids = {cell["id"] for cell in before["cells"]} | {cell["id"] for cell in after["cells"]}
        assert {cell.cell_id for cell in diff.cells} <= ids


async def members(bench: Bench, notebook_id: UUID, version: str) -> dict[str, Any]:
    """All settings of a version, by the names that a diff has for them."""
    whole = await bench.ask(GetVersion, notebook_id=notebook_id, version=version)
    shown = whole.model_dump(mode="json", by_alias=True)
    found = {name: shown[name] for name in ("notebookName", "notebookDescription", "kernelType")}
    for group in ("integration", "environment"):
        found |= {f"{group}.{name}": value for name, value in shown[group].items()}
    return found


async def uploads_say_the_same(bench: Bench, notebook_id: UUID) -> None:
    """The notebook as a file, uploaded, is the same again."""
    content = await export(bench, notebook_id)
    uploaded = await bench.ask(
        ImportNotebook,
        file_name="again.ipynb",
        file=orjson.dumps(content, option=orjson.OPT_INDENT_2).decode(),
        notebook_name="Again",
        integration=Integration(),
    )
    assert uploaded.parsing.warnings == []
    assert text_of(await export(bench, uploaded.notebook_id)) == text_of(content)
