"""A notebook's content as an nbformat 4.5 document: cells to and from the API's shape, and its stored form."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from hashlib import sha256
from typing import Any

import orjson

from services.catalog import kernels
from services.catalog.cell_ids import Numbering
from shared.contracts.notebooks import CellDraft, CellType, KernelType

Json = dict[str, Any]


def same(a: object, b: object) -> bool:
    """Equal as JSON: to Python 1, 1.0 and true are one value."""
    return a == b and orjson.dumps(a, option=orjson.OPT_SORT_KEYS) == orjson.dumps(b, option=orjson.OPT_SORT_KEYS)


class Document:
    """An nbformat 4.5 notebook. `body` has no outputs; `outputs` holds those of the uploaded file, by cell id.

    Either form is made of the other when it is first asked for: who only stores or sends a document never parses it.
    """

    def __init__(self, *, body: Json, outputs: dict[str, Json] | None = None) -> None:
        self.body = body
        self.outputs = outputs or {}

    @classmethod
    def stored(cls, body: bytes, outputs: bytes | None) -> Document:
        """The document from its stored form."""
        document = cls.__new__(cls)
        document.body_bytes = body
        document.outputs_bytes = outputs
        return document

    @cached_property
    def body(self) -> Json:
        """The notebook without outputs."""
        parsed: Json = orjson.loads(self.body_bytes)
        return parsed

    @cached_property
    def outputs(self) -> dict[str, Json]:
        """The outputs that the uploaded file had, by cell id."""
        return orjson.loads(self.outputs_bytes) if self.outputs_bytes else {}

    @property
    def cells(self) -> list[Json]:
        """The cells, each with its id."""
        cells: list[Json] = self.body["cells"]
        return cells

    @cached_property
    def body_bytes(self) -> bytes:
        """The body in its stored form."""
        return orjson.dumps(self.body, option=orjson.OPT_SORT_KEYS)

    @cached_property
    def outputs_bytes(self) -> bytes | None:
        """The outputs in their stored form, None when there are none."""
        return orjson.dumps(self.outputs, option=orjson.OPT_SORT_KEYS) if self.outputs else None

    @cached_property
    def sha256(self) -> bytes:
        """The content's address."""
        return sha256(self.body_bytes + b"\0" + (self.outputs_bytes or b"")).digest()

    def with_cells(self, cells: Sequence[Json]) -> Document:
        """The same notebook with other cells; outputs stay with cells whose code is the same."""
        before = {cell["id"]: cell for cell in self.cells}
        kept = {
            cell["id"]: self.outputs[cell["id"]]
            for cell in cells
            if cell["id"] in self.outputs
            and cell["cell_type"] == "code"
            and cell["source"] == before[cell["id"]]["source"]
        }
        return Document(body={**self.body, "cells": list(cells)}, outputs=kept)

    def export(self, kernel_type: KernelType) -> Json:
        """The .ipynb: with the outputs it came with, and a kernel that JupyterLab finds."""
        exported = self.pinned(kernel_type)
        exported["cells"] = [
            {**cell, **self.outputs[cell["id"]]} if cell["id"] in self.outputs else cell for cell in exported["cells"]
        ]
        return exported

    def pinned(self, kernel_type: KernelType) -> Json:
        """The document to run: no outputs, and the kernel's metadata."""
        return {**self.body, "metadata": kernels.metadata_for(kernel_type, self.body["metadata"])}


def empty() -> Json:
    """The body of a notebook without cells."""
    return {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def new_cell(cell_id: str, cell_type: CellType, source: str, metadata: Json | None = None) -> Json:
    """A cell of an nbformat 4.5 document."""
    cell: Json = {"id": cell_id, "cell_type": cell_type, "metadata": metadata or {}, "source": source}
    if cell_type == "code":
        cell |= {"outputs": [], "execution_count": None}
    return cell


def cells_of_drafts(drafts: Sequence[CellDraft], numbering: Numbering) -> list[Json]:
    """New cells as a client wrote them. The drafts' ids have been checked; those without one get the next free."""
    for draft in drafts:
        numbering.see(draft.cell_id or "")
    return [
        new_cell(
            draft.cell_id or numbering.give(),
            draft.cell_type,
            draft.content,
            metadata_with({}, draft.metadata, draft.tags),
        )
        for draft in drafts
    ]


def tags_of(cell: Json) -> list[str]:
    """A cell's tags, which nbformat keeps in its metadata."""
    tags = cell["metadata"].get("tags", [])
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def metadata_of(cell: Json) -> Json:
    """A cell's metadata but its tags."""
    return {name: value for name, value in cell["metadata"].items() if name != "tags"}


def metadata_with(present: Json, metadata: Json | None, tags: list[str] | None) -> Json:
    """`present` with `metadata` and `tags` in its place, where they are given and differ from what it says already.

    Without a difference the very same metadata comes back, so that a PUT of what GET said makes no new version.
    """
    result = present
    metadata = None if metadata is None else with_timeout_as_text(metadata)
    if metadata is not None and metadata != {name: value for name, value in present.items() if name != "tags"}:
        result = deepcopy(metadata)
        if "tags" not in metadata and "tags" in present:
            result["tags"] = present["tags"]
    if tags is not None and tags != result.get("tags", []):
        result = {name: value for name, value in result.items() if name != "tags"}
        if tags:
            result["tags"] = list(tags)
    return result


def with_timeout_as_text(metadata: Json) -> Json:
    """`execution.timeout` of a cell as a string, which is all that nbformat 4.5 allows there; people write a number."""
    execution = metadata.get("execution")
    timeout = execution.get("timeout") if isinstance(execution, dict) else None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        return metadata
    return {**metadata, "execution": {**metadata["execution"], "timeout": str(timeout)}}
