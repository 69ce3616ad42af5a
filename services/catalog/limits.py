"""How large and how deep a notebook may be. Beyond these it could not be stored, sent or opened in reasonable time."""

from __future__ import annotations

from typing import Any

from services.catalog.document import Document
from services.catalog.faults import path_of
from shared.errors import Fault, Invalid, TooLarge

MAX_CELLS = 10_000
"""Cells of one notebook; JupyterLab becomes unusable long before."""

MAX_CELL_CHARACTERS = 2_000_000
"""Source of one cell, in characters; a longer one is data that belongs in a dataset."""

MAX_NOTEBOOK_BYTES = 50_000_000
"""A whole notebook as JSON with its outputs, in bytes: what still travels and opens in seconds."""

MAX_VALUES = 1_000_000
"""Values of one notebook without its outputs: about 100 MB as objects."""

MAX_NESTING = 100
"""Levels of JSON within a notebook. Python's recursion and the JSON writer (254) end not far above."""


def check_size(document: Document) -> None:
    """Raise TooLarge when the notebook, or a cell of it, is over a limit."""
    if len(document.cells) > MAX_CELLS:
        raise TooLarge(f"A notebook has at most {MAX_CELLS:,} cells; this one has {len(document.cells):,}.")
    for index, cell in enumerate(document.cells):
        if len(cell["source"]) > MAX_CELL_CHARACTERS:
            raise TooLarge(
                f"A cell's source has at most {MAX_CELL_CHARACTERS:,} characters; "
                f"cells[{index}] has {len(cell['source']):,}."
            )
    size = len(document.body_bytes) + len(document.outputs_bytes or b"")
    if size > MAX_NOTEBOOK_BYTES:
        raise TooLarge(f"A notebook has at most {MAX_NOTEBOOK_BYTES:,} bytes with its outputs; this one has {size:,}.")


def check_values(document: Document) -> None:
    """Raise TooLarge when the notebook without its outputs has too many values: each read builds them all."""
    waiting: list[Any] = [document.body]
    count = 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict | list):
            count += len(item)
            waiting.extend(item.values() if isinstance(item, dict) else item)
        if count > MAX_VALUES:
            raise TooLarge(
                f"A notebook has at most {MAX_VALUES:,} values (cells and their members, metadata) beside its outputs; "
                "large data belong into a dataset or a file beside it."
            )


def check_depth(value: Any, prefix: str = "") -> None:
    """Raise Invalid when client data is nested too deep to be stored and read again."""
    place = deeper_than(value, MAX_NESTING)
    if place is not None:
        fault = Fault(path=path_of(place[:6], prefix), message=f"is nested deeper than {MAX_NESTING} levels")
        raise Invalid(f"The request is nested deeper than {MAX_NESTING} levels.", faults=[fault])


def deeper_than(value: Any, limit: int) -> list[str | int] | None:
    """The path to the first place nested deeper than `limit` levels, or None. Does not recurse."""
    stack: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while stack:
        item, path = stack.pop()
        if not isinstance(item, dict | list):
            continue
        if len(path) >= limit:
            return list(path)
        entries = item.items() if isinstance(item, dict) else enumerate(item)
        stack.extend((entry, (*path, key)) for key, entry in entries if isinstance(entry, dict | list))
    return None
