"""A notebook's parameters as JSON Schema: from its metadata, or read out of the cell tagged `parameters`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.catalog.document import Document, tags_of
from services.catalog.parameters import python, r, scala
from services.catalog.parameters.declared import Declared
from shared.contracts.notebooks import KernelType

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The JSON Schema that the answers are written in."""

TAG = "parameters"
"""The tag of the cell whose assignments are the parameters; papermill's word."""

MAX_CHARACTERS = 50_000
"""A parameters cell longer than this is not read, in characters: longer ones take more than a tenth of a second."""

MOST_PARAMETERS = 1_000
"""Parameters of one cell that are told; a form with more is none."""

_READERS: dict[KernelType, Callable[[str], list[Declared]]] = {
    "python3": python.read,
    "r": r.read,
    "scala": scala.read,
}


def schema_of(document: Document, kernel_type: KernelType) -> dict[str, Any]:
    """The schema of `metadata.atelier.parameters` where the notebook has one, else one inferred from its code.

    Code that cannot be read declares nothing; its fault shows when it runs.
    """
    settings = document.body["metadata"].get("atelier")
    settings = settings if isinstance(settings, dict) else {}
    schema: dict[str, Any] = {"$schema": DIALECT, "type": "object"}
    explicit = settings.get("parameters")
    if isinstance(explicit, dict):
        schema |= {"properties": {}, **explicit}
        if not isinstance(schema["properties"], dict):
            schema["properties"] = {}
    else:
        declared = _declared(document, kernel_type)
        schema["properties"] = {item.name: item.schema() for item in declared}
        required = [item.name for item in declared if item.is_required]
        if required:
            schema["required"] = required
    if settings.get("strictParameters") is True:
        schema["additionalProperties"] = False
    return schema


def _declared(document: Document, kernel_type: KernelType) -> list[Declared]:
    for cell in document.cells:
        if cell["cell_type"] == "code" and TAG in tags_of(cell):
            source = cell["source"]
            return _READERS[kernel_type](source)[:MOST_PARAMETERS] if len(source) <= MAX_CHARACTERS else []
    return []
