"""Notebook files: nbformat 4 of any minor version, and nbformat 3, read into a valid 4.5 document.

Nothing of a valid file is lost: outputs, attachments, widget state and unknown metadata stay. What can be mended
without guessing (ids, missing members) is mended with a warning; anything else is refused with its place.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from services.catalog import cell_ids, validity
from services.catalog.cell_ids import Numbering
from services.catalog.document import Document, Json, with_timeout_as_text
from services.catalog.faults import path_of, refuse
from services.catalog.importing import json_text, papermill_traces, version3
from services.catalog.importing.parsed import Parsed, joined, refused
from shared.errors import MOST_FAULTS, Fault

FIXED_MEMBERS = {"cells", "metadata", "nbformat", "nbformat_minor"}
"""Members of an nbformat 4 notebook."""

_ONLY_ON_CODE = ("outputs", "execution_count")


def read(text: str) -> Parsed:
    """Read the text of an .ipynb file. Raises Invalid with every fault it can name."""
    warnings: list[str] = []
    notebook = json_text.read(text, warnings)
    major, minor = _format(notebook)
    worksheets = notebook.get("worksheets") if major == 3 else None
    if major == 3:
        warnings.append(f"The file is nbformat 3.{minor}; it was upgraded to 4.5.")
        notebook = version3.upgraded(notebook, warnings)
    elif minor > 5:
        warnings.append(f"The file is nbformat 4.{minor}, newer than 4.5; it was read as 4.5.")
    return finished(
        notebook,
        warnings,
        nbformat=f"{major}.{minor}",
        ids_expected=major == 4 and minor >= 5,
        worksheets=worksheets,
    )


def finished(
    notebook: Json,
    warnings: list[str],
    *,
    nbformat: str,
    ids_expected: bool | None,
    worksheets: list[Json] | None = None,
) -> Parsed:
    """Return an nbformat 4 notebook mended and checked. Raises Invalid with every fault it can name.

    `ids_expected` says whether cells of the format have ids; None when nobody would expect them.
    `worksheets` are those of the nbformat 3 file that it was: faults are named by their places in there.
    """
    cells = _cells(notebook)
    numbering = Numbering()
    unknown = sorted(set(notebook) - FIXED_MEMBERS)
    if unknown:
        places = [path_of([name], "file") for name in unknown]
        raise refused([Fault(path=place, message="is not a member of a notebook") for place in places])
    _mend(cells, warnings)
    _identify(cells, numbering, warnings, ids_expected=ids_expected)
    metadata = notebook.get("metadata")
    if metadata is None:
        metadata = {}
        warnings.append("The file had no metadata.")
    body = {"cells": cells, "metadata": _mended_metadata(metadata, warnings), "nbformat": 4, "nbformat_minor": 5}
    found = validity.faults_of(body, "file")
    refuse(found if worksheets is None else version3.in_worksheets(found, worksheets), "The file")
    body["cells"], body["metadata"] = papermill_traces.without_traces(cells, body["metadata"], warnings)
    _join_lines(body["cells"])
    return Parsed(
        document=_without_outputs(body),
        nbformat=nbformat,
        warnings=warnings,
        highest_cell_number=numbering.highest,
    )


def _format(notebook: Json) -> tuple[int, int]:
    major, minor = notebook.get("nbformat"), notebook.get("nbformat_minor", 0)
    if "nbformat" not in notebook:
        raise refused([Fault(path="file.nbformat", message="is missing: this is JSON, but no notebook")])
    if type(major) is not int or major not in (3, 4):
        raise refused([Fault(path="file.nbformat", message=f"must be 3 or 4, not {str(major)[:40]}")])
    if type(minor) is not int or minor < 0:
        raise refused([Fault(path="file.nbformat_minor", message=f"must be a whole number, not {str(minor)[:40]}")])
    return major, minor


def _cells(notebook: Json) -> list[Json]:
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        what = "is missing" if "cells" not in notebook else "must be an array"
        raise refused([Fault(path="file.cells", message=what)])
    faults = [
        Fault(path=path_of(["cells", number], "file"), message="must be an object")
        for number, cell in enumerate(cells)
        if not isinstance(cell, dict)
    ]
    if faults:
        raise refused(faults)
    return cells


def _mend(cells: list[Json], warnings: list[str]) -> None:
    """Put in members that a cell must have, take out those only code cells may have."""
    mended: Counter[str] = Counter()
    for cell in cells:
        for name, value in (("metadata", {}), ("source", "")):
            if cell.get(name) is None:
                cell[name] = value
                mended[f"had no {name}"] += 1
        if isinstance(cell["metadata"], dict):
            metadata = with_timeout_as_text(cell["metadata"])
            mended["had a number for metadata.execution.timeout, which nbformat has as a string"] += (
                metadata is not cell["metadata"]
            )
            cell["metadata"] = metadata
        if cell.get("cell_type") == "code":
            for name in _ONLY_ON_CODE:
                if name not in cell or (name == "outputs" and cell[name] is None):
                    cell[name] = [] if name == "outputs" else None
                    mended[f"had no {name}"] += 1
        elif cell.get("cell_type") in ("markdown", "raw"):
            for name in _ONLY_ON_CODE:
                if name in cell:
                    del cell[name]
                    mended[f"had {name}, which only code cells have"] += 1
    warnings += [f"{count} cell{'s' if count > 1 else ''} {what}; mended." for what, count in mended.items() if count]


def _identify(cells: list[Json], numbering: Numbering, warnings: list[str], *, ids_expected: bool | None) -> None:
    """Give every cell an id of its own; those a file brings stay with their cells."""
    seen: set[str] = set()
    wanting: list[tuple[int, Json, str | None]] = []
    missing = 0
    for number, cell in enumerate(cells):
        cell_id = cell.get("id")
        if isinstance(cell_id, str) and cell_ids.is_valid(cell_id) and cell_id not in seen:
            seen.add(cell_id)
            numbering.see(cell_id)
        else:
            missing += "id" not in cell
            wanting.append((number, cell, None if "id" not in cell else str(cell_id)[:80]))
    for number, cell, old in wanting:
        cell["id"] = numbering.give()
        if old is not None and len(warnings) < MOST_FAULTS:
            why = "is another cell's too" if old in seen else "is no valid id"
            warnings.append(f"The id {old!r} of cells[{number}] {why}; it is now {cell['id']}.")
    if missing and ids_expected:
        warnings.append(f"{missing} cell{'s' if missing > 1 else ''} had no id and got one.")
    elif missing and ids_expected is not None:
        warnings.append("The file's format has no cell ids; its cells got cell-001 and following.")


def _mended_metadata(metadata: Any, warnings: list[str]) -> Any:
    """The notebook's metadata; a kernelspec or language_info that nbformat would refuse is completed or set aside."""
    if not isinstance(metadata, dict):
        return metadata
    spec = metadata.get("kernelspec")
    if isinstance(spec, dict) and isinstance(spec.get("name"), str) and not isinstance(spec.get("display_name"), str):
        metadata = {**metadata, "kernelspec": {**spec, "display_name": spec["name"]}}
        warnings.append("metadata.kernelspec had no display_name; it got its name.")
    for name in ("kernelspec", "language_info"):
        part = metadata.get(name)
        if name in metadata and (not isinstance(part, dict) or not isinstance(part.get("name"), str)):
            metadata = {key: value for key, value in metadata.items() if key != name}
            warnings.append(f"metadata.{name} named nothing and was left out.")
    if "orig_nbformat" in metadata and type(metadata["orig_nbformat"]) is not int:
        metadata = {key: value for key, value in metadata.items() if key != "orig_nbformat"}
        warnings.append("metadata.orig_nbformat was no number and was left out.")
    return metadata


def _join_lines(cells: list[Json]) -> None:
    """Sources and outputs as one string each; the file may have them as arrays of lines."""
    for cell in cells:
        cell["source"] = joined(cell["source"])


def _without_outputs(body: Json) -> Document:
    """The document with its outputs apart."""
    outputs = {}
    cells = []
    for cell in body["cells"]:
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        if cell["outputs"] or cell["execution_count"] is not None:
            outputs[cell["id"]] = {name: cell[name] for name in _ONLY_ON_CODE}
        cells.append({**cell, "outputs": [], "execution_count": None})
    return Document(body={**body, "cells": cells}, outputs=outputs)
