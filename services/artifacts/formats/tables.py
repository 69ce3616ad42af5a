"""What the text formats have in common: batches of named columns of texts, whose kinds are found out later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class TextBatch:
    """Some rows. Columns may be added from one batch to the next, never removed."""

    names: list[str]
    columns: list[pa.Array]  # of strings; null is a missing value
    row_count: int
    texts: frozenset[str] = field(default_factory=frozenset)  # columns that the format itself declares to be text


class TextTable(Protocol):
    """A file in a text format. Each call of `batches` reads it from the start."""

    def batches(self) -> Iterator[TextBatch]:
        """The rows in order; at least one batch, perhaps without rows, so that columns are known. Raises Invalid."""

    @property
    def commas_are_decimal(self) -> bool:
        """Whether `1,5` may be one and a half."""

    def description(self) -> dict[str, Any]:
        """How the file was read, for the record."""
