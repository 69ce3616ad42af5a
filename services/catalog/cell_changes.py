"""Changes to a notebook's cells: all of them, one, or one more. An id stays with its cell."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from services.catalog import cell_ids, faults, validity
from services.catalog.cell_ids import Numbering
from services.catalog.document import Document, Json, metadata_of, metadata_with, new_cell, tags_of
from services.catalog.limits import check_depth, check_size
from services.catalog.merging import merge_patch, parse, wire_names
from shared.contracts.notebooks import Cell, CellDraft
from shared.errors import Fault

MEMBERS = frozenset(wire_names(CellDraft))

READ_ONLY = frozenset(wire_names(Cell)) - MEMBERS
"""Members of a cell in a GET answer that a PUT may bring back; they change nothing."""


def replaced(document: Document, given: Any, numbering: Numbering, found: list[Fault]) -> Document:
    """`document` with the cells that a PUT gives, in their order; all their faults are added to `found`.

    The array replaces (RFC 7396): a cell without `tags` or `metadata` has none from here on, also one that was there
    before. Its attachments and outputs, which the API does not show, stay. Nobody empties a cell by not saying what is
    in it: one that is there needs its `content`.
    """
    if not isinstance(given, list):
        found.append(Fault(path="cells", message="must be an array of cells"))
        return document
    faulty: list[Fault] = []
    drafts = [_draft(item, f"cells[{index}]", faulty) for index, item in enumerate(given)]
    cells = [draft for draft in drafts if draft is not None]
    known = {cell["id"]: cell for cell in document.cells}
    faulty = faulty or [*draft_faults(cells, set(), "cells"), *_silent(cells, known)]
    if not faulty:
        for draft in cells:
            numbering.see(draft.cell_id or "")
        document = document.with_cells(
            [
                _merged(_in_full(draft), known.get(draft.cell_id or ""), draft.cell_id or numbering.give())
                for draft in cells
            ]
        )
        faulty = _document_faults(document)
    found += faulty
    return document


def _silent(cells: Sequence[CellDraft], known: Collection[str]) -> list[Fault]:
    return [
        Fault(path=f"cells[{index}].content", message="is required: the cell is there already")
        for index, draft in enumerate(cells)
        if draft.cell_id in known and "content" not in draft.model_fields_set
    ]


def _in_full(draft: CellDraft) -> CellDraft:
    """The draft with what it does not say said: no metadata, no tags but those in the metadata."""
    metadata = draft.metadata or {}
    tags = draft.tags if draft.tags is not None or "tags" in metadata else []
    return draft.model_copy(update={"metadata": metadata, "tags": tags})


def _draft(item: Any, path: str, found: list[Fault]) -> CellDraft | None:
    """A cell as a PUT gives it; members without a value count as absent."""
    if isinstance(item, dict):
        found += faults.unknown_members(item, MEMBERS | READ_ONLY, path)
        return parse(
            CellDraft,
            {name: value for name, value in item.items() if name in MEMBERS and value is not None},
            path,
            found,
        )
    return parse(CellDraft, item, path, found)


def updated(document: Document, cell_id: str, patch: Json) -> Document:
    """`document` with `patch` merged into one cell, which exists. Raises Invalid, TooLarge."""
    check_depth(patch)
    index, present = next((i, cell) for i, cell in enumerate(document.cells) if cell["id"] == cell_id)
    found = faults.unknown_members(patch, MEMBERS | READ_ONLY)
    if patch.get("cellId", cell_id) != cell_id:
        found.append(Fault(path="cellId", message="cannot be changed"))
    before = {
        "cellType": present["cell_type"],
        "content": present["source"],
        "tags": tags_of(present),
        "metadata": metadata_of(present),
    }
    merged = merge_patch(before, {name: value for name, value in patch.items() if name in before})
    draft = parse(CellDraft, {"content": "", "tags": [], "metadata": {}, **merged}, "", found)
    faults.refuse(found, "The cell")
    assert draft is not None  # noqa: S101 - without faults there is a draft
    changed = document.with_cells(
        [*document.cells[:index], _merged(draft, present, cell_id), *document.cells[index + 1 :]]
    )
    faults.refuse(_document_faults(changed, f"cells[{index}]."), "The cell")
    check_size(changed)
    return changed


def added(document: Document, draft: CellDraft, numbering: Numbering) -> Document:
    """`document` with one more cell at its end. Raises Invalid, TooLarge."""
    faults.refuse(draft_faults([draft], {cell["id"] for cell in document.cells}, ""), "The cell")
    numbering.see(draft.cell_id or "")
    cell = _merged(draft, None, draft.cell_id or numbering.give())
    changed = document.with_cells([*document.cells, cell])
    faults.refuse(_document_faults(changed, f"cells[{len(document.cells)}]."), "The cell")
    check_size(changed)
    return changed


def draft_faults(drafts: Sequence[CellDraft], taken: set[str], prefix: str) -> list[Fault]:
    """Faults in the ids of new cells. `prefix` names the array; empty means that there is but one cell."""
    found = []
    seen = set(taken)
    for index, draft in enumerate(drafts):
        path = f"{prefix}[{index}].cellId" if prefix else "cellId"
        if not draft.cell_id:
            continue
        if not cell_ids.is_valid(draft.cell_id):
            found.append(Fault(path=path, message="must be 1 to 64 letters, digits, hyphens and underscores"))
        elif draft.cell_id in seen:
            found.append(Fault(path=path, message=f"{draft.cell_id} is another cell's id already"))
        seen.add(draft.cell_id)
    return found


def _merged(draft: CellDraft, present: Json | None, cell_id: str) -> Json:
    """The cell a draft asks for. What it does not say of a cell that exists stays, as does what no draft can say."""
    if present is None:
        metadata = metadata_with({}, draft.metadata, draft.tags)
        return new_cell(cell_id, draft.cell_type, draft.content, metadata)
    source = draft.content if "content" in draft.model_fields_set else present["source"]
    metadata = metadata_with(present["metadata"], draft.metadata, draft.tags)
    if draft.cell_type == present["cell_type"]:
        return {**present, "source": source, "metadata": metadata}
    cell = new_cell(cell_id, draft.cell_type, source, metadata)
    if draft.cell_type != "code" and "attachments" in present:
        cell["attachments"] = present["attachments"]
    return cell


def _document_faults(document: Document, strip: str = "") -> list[Fault]:
    """Why the document would not be valid nbformat, with paths in the API's words."""
    return [
        Fault(
            path=fault.path.removeprefix(strip).replace("metadata.tags", "tags").replace("cell_type", "cellType"),
            message=fault.message,
        )
        for fault in validity.faults_of(document.body)
    ]
