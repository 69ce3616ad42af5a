"""The outputs of one cell, or of one output widget, with what they take: what is cleared, overwritten or replaced is
counted no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode

from services.executor.kernels import terminal
from services.executor.kernels.output_limits import MAX_CELL_OUTPUTS, Account, Limit

TIDIED_CHARACTERS = 256_000
"""Text of a stream with carriage returns or backspaces is tidied when at least so much has been added."""


@dataclass
class Display:
    """All outputs under one display id: they share their data, so that an update costs the same for any number."""

    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    count: int = 0

    def show(self, data: dict[str, Any], metadata: dict[str, Any], size: int, account: Account) -> Limit | None:
        """Replace what is shown, unless a limit is reached; `account` pays for all places."""
        limit = account.keep((size - self.size) * self.count)
        if limit is None:
            for kept, new in ((self.data, data), (self.metadata, metadata)):
                kept.clear()
                kept.update(new)
            self.size = size
        return limit


class OutputList:
    """See the module. `outputs` is the list that is filled; it stays the same list."""

    def __init__(self, outputs: list[NotebookNode], account: Account) -> None:
        self.outputs = outputs
        self.account = account
        self.clears_with_next = False
        """Set by `clear_output(wait=True)`: the next output takes the place of all before it."""
        self._sizes: list[int | Display] = [0] * len(outputs)
        self._pieces: list[str] = []
        self._added = 0
        self._tidied_at = TIDIED_CHARACTERS
        self._overwrites = False

    @property
    def size(self) -> int:
        """Bytes of all outputs, near enough."""
        return sum(size.size if isinstance(size, Display) else size for size in self._sizes)

    def add(self, output: NotebookNode, size: int, display: Display | None = None) -> Limit | None:
        """Add an output of about `size` bytes, unless a limit is reached."""
        self._clear_if_due()
        self.settle()
        limit = self._room_for_one(size)
        if limit is None:
            self.outputs.append(output)
            self._begin_stream()
            self._sizes.append(size if display is None else display)
            if display is not None:
                display.count += 1
        return limit

    def add_text(self, name: str, text: str) -> Limit | None:
        """Add text to a stream, unless a limit is reached."""
        self._clear_if_due()
        last = self.outputs[-1] if self.outputs else None
        if last is None or last["output_type"] != "stream" or last["name"] != name:
            # Made here: nbformat's own function checks it against the whole schema, which takes longer than the cell.
            limit = self.add(NotebookNode(output_type="stream", name=name, text=""), 0)
            if limit is not None:
                return limit
        limit = self.account.keep(len(text))
        if limit is not None and self._overwrites:
            self.settle()  # perhaps most of it is overwritten by now
            limit = self.account.keep(len(text))
        if limit is not None:
            return limit
        self._pieces.append(text)
        self._grow_last(len(text))
        self._added += len(text)
        self._overwrites = self._overwrites or "\r" in text or "\b" in text
        if self._overwrites and self._added >= self._tidied_at:
            self.settle()
        return None

    def clear(self) -> None:
        """Take all outputs away."""
        self.clears_with_next = False
        self._pieces = []
        self._begin_stream()
        given_back = 0
        for size in self._sizes:
            if isinstance(size, Display):
                size.count -= 1
                given_back += size.size
            else:
                given_back += size
        self.account.keep(-given_back)
        self.outputs.clear()
        self._sizes.clear()

    def settle(self) -> None:
        """Write the pieces of the stream that was last added to into its output, as a terminal would show it. Joining
        each as it comes would copy all before it."""
        if not self._pieces:
            return
        last = self.outputs[-1]
        text = last["text"] + "".join(self._pieces)
        self._pieces = []
        if self._overwrites:
            before, text = len(text), terminal.shown(text)
            self.account.keep(len(text) - before)
            self._grow_last(len(text) - before)
        last["text"] = text
        self._begin_stream(len(text), overwrites="\r" in text)

    def _begin_stream(self, length: int = 0, *, overwrites: bool = False) -> None:
        self._added = 0
        self._tidied_at = max(TIDIED_CHARACTERS, length)
        self._overwrites = overwrites

    def _grow_last(self, by: int) -> None:
        size = self._sizes[-1]
        self._sizes[-1] = by + (size if isinstance(size, int) else size.size)

    def _clear_if_due(self) -> None:
        if self.clears_with_next:
            self.clear()

    def _room_for_one(self, size: int) -> Limit | None:
        return "output" if len(self.outputs) >= MAX_CELL_OUTPUTS else self.account.keep(size)
