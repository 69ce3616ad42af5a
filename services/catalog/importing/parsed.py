"""What the readers of both file types hand back."""

from __future__ import annotations

from dataclasses import dataclass

from services.catalog.document import Document


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A file as a document; `nbformat` is what the file was (`4.4`, or `percent` for a script)."""

    document: Document
    nbformat: str
    warnings: list[str]
    highest_cell_number: int
