"""What a conversion is asked for and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from services.artifacts.formats.roles import Roles


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How a text file is written, as far as the caller says; None means: find out."""

    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    time_format: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the caller wants of a conversion, and the limits that hold."""

    roles: Roles
    habit: Roles  # the roles in the version before
    max_decompressed_bytes: int
    max_columns: int
    writing: Writing = Writing()
    converted: Callable[[int], None] = lambda _rows: None  # hears how many rows are converted so far
    waiting: Callable[[float], None] = lambda _seconds: None  # hears how long a reader waited for bytes; may raise
    passing: Callable[[int], None] = lambda _bytes: None  # hears how much content has been read; may raise
    working: Callable[[], None] = lambda: None  # called again and again while columns are looked at; may raise


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A finished Parquet file and what is known of it."""

    record_count: int
    case_count: int | None
    columns: list[tuple[str, str]]  # name and type
    roles: Roles
    size_bytes: int
    sha256: str
    source: dict[str, Any]

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> Self:
        """Return the conversion that was told in JSON (`dataclasses.asdict`)."""
        columns = [(name, kind) for name, kind in told["columns"]]
        return cls(**{**told, "columns": columns, "roles": Roles(**told["roles"])})
