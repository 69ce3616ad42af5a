"""Notebook files in nbformat 3: upgraded by nbformat's own code, with what that takes for granted looked at before."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import nbformat
import orjson

from services.catalog import kernels
from services.catalog.document import Json
from services.catalog.faults import path_of
from services.catalog.importing.parsed import is_text, joined, refused
from shared.errors import Fault

MEMBERS = {"worksheets", "metadata", "nbformat", "nbformat_minor", "orig_nbformat", "orig_nbformat_minor"}
"""Members of an nbformat 3 notebook."""

_UPGRADED = re.compile(r"^file\.cells\[(?P<number>\d+)\](?:\.(?P<member>\w+))?")
_NAMES = {"source": "input", "execution_count": "prompt_number"}
_TYPES = {"code", "markdown", "raw", "heading", "html"}


def upgraded(notebook: Json, warnings: list[str]) -> Json:
    """An nbformat 3 notebook as nbformat 4, after a look at what the upgrade takes for granted. Its title, which the
    upgrade would drop, becomes nbformat 4's."""
    found = []
    worksheets = notebook.get("worksheets")
    if not isinstance(worksheets, list):
        raise refused([Fault(path="file.worksheets", message="must be an array")])
    for sheet_number, sheet in enumerate(worksheets):
        place = path_of(["worksheets", sheet_number, "cells"], "file")
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        if not isinstance(cells, list):
            found.append(Fault(path=place, message="must be an array"))
            continue
        for number, cell in enumerate(cells):
            found += _faults(cell, f"{place}[{number}]")
    if not isinstance(notebook.get("metadata", {}), dict):
        found.append(Fault(path="file.metadata", message="must be an object"))
    if found:
        raise refused(found)
    notebook.setdefault("metadata", {})
    try:
        upgraded = nbformat.convert(nbformat.from_dict(notebook), 4)
    except (nbformat.ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise refused([Fault(path="file.worksheets", message=f"cannot be upgraded to nbformat 4: {error}")]) from error
    plain: Json = orjson.loads(orjson.dumps(upgraded))
    for cell in plain["cells"]:
        cell.pop("id", None)  # the upgrade makes up random ones
    title = notebook["metadata"].get("name")
    if isinstance(title, str) and title.strip():
        plain["metadata"].setdefault("title", title)
    if len(worksheets) > 1:
        warnings.append(f"The file's {len(worksheets)} worksheets became one.")
    if any(sheet.get("metadata") for sheet in worksheets):
        warnings.append("The metadata of its worksheets were left out; nbformat 4 has no place for them.")
    unknown = sorted(set(notebook) - MEMBERS)
    if unknown:
        warnings.append(f"Members that are none of a notebook were left out: {', '.join(unknown)[:200]}.")
    _tell_language(plain["metadata"], worksheets, warnings)
    plain["metadata"].pop("orig_nbformat", None)
    plain["metadata"].pop("orig_nbformat_minor", None)
    return {name: plain[name] for name in ("cells", "metadata", "nbformat", "nbformat_minor")}


def _tell_language(metadata: Json, worksheets: list[Json], warnings: list[str]) -> None:
    """Have the metadata name the language, where they name no kernel: nbformat 3 has it in each cell."""
    if kernels.recognise(metadata) != kernels.Recognised():
        return
    cells = [cell for sheet in worksheets for cell in sheet["cells"] if cell["cell_type"] == "code"]
    languages = Counter(
        cell["language"] for cell in cells if isinstance(cell.get("language"), str) and cell["language"]
    )
    if languages:
        ((most, _),) = languages.most_common(1)
        metadata["language_info"] = {"name": most}
        if len(languages) > 1:
            warnings.append(f"Its cells are in {', '.join(languages)[:200]}; the kernel is that of most, {most[:100]}.")


def in_worksheets(faults: list[Fault], worksheets: list[Json]) -> list[Fault]:
    """Faults of the upgraded notebook with their places in the file."""
    cells = [
        (path_of(["worksheets", number, "cells", position], "file"), cell)
        for number, sheet in enumerate(worksheets)
        for position, cell in enumerate(sheet["cells"])
    ]
    return [
        Fault(path=_UPGRADED.sub(lambda match: _place(match, cells), fault.path), message=fault.message)
        for fault in faults
    ]


def _place(match: re.Match[str], cells: list[tuple[str, Json]]) -> str:
    place, cell = cells[int(match["number"])]
    member = match["member"] or ""
    return place + "." * bool(member) + (_NAMES.get(member, member) if cell["cell_type"] == "code" else member)


def _faults(cell: Any, place: str) -> list[Fault]:
    if not isinstance(cell, dict) or cell.get("cell_type") not in _TYPES:
        return [Fault(path=f"{place}.cell_type", message=f"must be one of {', '.join(sorted(_TYPES))}")]
    found = []
    source = "input" if cell["cell_type"] == "code" else "source"
    if not is_text(cell.get(source, "")):
        found.append(Fault(path=f"{place}.{source}", message="must be a string or an array of strings"))
    else:
        cell[source] = joined(cell.get(source, ""))
    if not isinstance(cell.get("metadata", {}), dict):
        found.append(Fault(path=f"{place}.metadata", message="must be an object"))
    if cell["cell_type"] == "heading" and type(cell.get("level", 1)) is not int:
        found.append(Fault(path=f"{place}.level", message="must be a whole number"))
    if cell["cell_type"] == "code":
        outputs = cell.setdefault("outputs", [])
        if not isinstance(outputs, list):
            found.append(Fault(path=f"{place}.outputs", message="must be an array"))
        else:
            found += [
                Fault(path=f"{place}.outputs[{number}].output_type", message="must be a string")
                for number, output in enumerate(outputs)
                if not isinstance(output, dict) or not isinstance(output.get("output_type"), str)
            ]
    return found
