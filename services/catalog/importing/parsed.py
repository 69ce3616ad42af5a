"""What the readers of both file types hand back: a document, or what is wrong with the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.catalog.document import Document
from shared.errors import MOST_FAULTS, Fault, Invalid


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A file as a document; `nbformat` is what the file was (`4.4`, or `percent` for a script)."""

    document: Document
    nbformat: str
    warnings: list[str]
    highest_cell_number: int


def is_text(value: Any) -> bool:
    """Whether it is what nbformat takes for a text: a string, or an array of them."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def joined(value: str | list[str]) -> str:
    """Such a text as one string."""
    return value if isinstance(value, str) else "".join(value)


def refused(faults: list[Fault]) -> Invalid:
    """The error that names the faults of a file."""
    first = faults[0]
    return Invalid(f"The file cannot be used as a notebook: {first.path} {first.message}.", faults=faults[:MOST_FAULTS])
