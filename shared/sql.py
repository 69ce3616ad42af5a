"""Named SQL: `queries.sql` files hold blocks that begin with `-- name: accept_run`."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


class Queries:
    """The named statements of one file, as attributes: `queries.accept_run`."""

    def __init__(self, file: Path) -> None:
        parts = _NAME.split(file.read_text(encoding="utf-8"))
        self._statements = {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
        if len(self._statements) != len(parts[1::2]):
            raise ValueError(f"{file} names a statement twice")

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"no statement named {name}") from None
