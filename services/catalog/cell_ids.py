"""Cell ids: which are valid, and which is given next. An id once given is never given to another cell."""

from __future__ import annotations

import re
from collections.abc import Iterable

ID_LENGTH = 64
"""The longest cell id of nbformat 4.5, in characters."""

_VALID = re.compile(rf"^[a-zA-Z0-9_-]{{1,{ID_LENGTH}}}\Z")
_NUMBERED = re.compile(r"^cell-(\d{1,15})\Z", re.ASCII)


def is_valid(cell_id: object) -> bool:
    """Whether nbformat 4.5 takes this as a cell's id."""
    return isinstance(cell_id, str) and _VALID.match(cell_id) is not None


def number_of(cell_id: str) -> int:
    """The number in an id of our own pattern, else 0."""
    match = _NUMBERED.match(cell_id)
    return int(match[1]) if match else 0


class Numbering:
    """Gives out `cell-001`, `cell-002`, … above every number ever seen in the notebook, used or deleted since."""

    def __init__(self, highest: int = 0, known: Iterable[str] = ()) -> None:
        self.highest = highest
        for cell_id in known:
            self.see(cell_id)

    def see(self, cell_id: str) -> None:
        """Take note of an id that a cell brought along."""
        self.highest = max(self.highest, number_of(cell_id))

    def give(self) -> str:
        """The next free id."""
        self.highest += 1
        return f"cell-{self.highest:03d}"
