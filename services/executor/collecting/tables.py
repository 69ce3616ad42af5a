"""Enriched datasets in the forms that `outputFormat` asks for; streamed, so that size does not matter."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from services.executor.collecting.enrichment_check import Check
from shared import apart

FORMS: Mapping[str, tuple[str, ...]] = {
    "enriched_dataframe": ("csv", "parquet"),
    "csv": ("csv",),
    "parquet": ("parquet",),
    "none": (),
}
"""Which files an enriched dataset becomes; the first is the default download (SPEC.md: Results)."""

FORMAT_NAME = {"enriched_dataframe": "pandas_dataframe", "csv": "csv", "parquet": "parquet"}
"""What results call the format."""

_PROGRAM = "services.executor.collecting.table_program"

_TURNS = asyncio.Semaphore(2)
"""So many of the processes at a time in one worker: each may take MEMORY_BYTES."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a table. `csv` is the file to write; `bound` and `keys` are the dataset that it enriches."""

    csv: Path | None = None
    max_bytes: int = 0
    bound: Path | None = None
    keys: Sequence[str | None] = ()

    def steps(self) -> list[str]:
        """In order, the cheapest first."""
        return ["shape", *(["check"] if self.bound else []), *(["csv"] if self.csv else [])]


@dataclass
class Found:
    """What came of it; `failed` says for a step that did not succeed why not."""

    rows: int = 0
    columns: list[str] = field(default_factory=list)
    check: Check | None = None
    failed: dict[str, str] = field(default_factory=dict)


async def look(parquet: Path, wanted: Wanted, *, scratch: Path, descriptors: Sequence[int] = ()) -> Found:
    """Look at a table in another process, which gets the `descriptors` that `parquet` is a path of."""
    found = Found()
    steps = wanted.steps()
    while steps and "shape" not in found.failed:
        question = {
            "steps": steps,
            "parquet": str(parquet),
            "csv": str(wanted.csv),
            "maxBytes": wanted.max_bytes,
            "bound": str(wanted.bound),
            "keys": list(wanted.keys),
        }
        said = b""
        ended: str | None = None
        async with _TURNS, apart.asked(_PROGRAM, question, scratch=scratch, descriptors=descriptors) as pieces:
            try:
                async for piece in pieces:
                    said += piece
            except apart.Ended as error:
                ended = str(error)
        for line in said.splitlines():
            _note(found, orjson.loads(line))
            steps = steps[1:]
        if ended is not None and steps:  # the step in hand is to blame; the others get a process of their own
            found.failed[steps[0]] = ended
            steps = steps[1:]
    return found


def _note(found: Found, said: dict[str, Any]) -> None:
    if "failed" in said:
        found.failed[said["step"]] = said["failed"]
    elif said["step"] == "shape":
        found.rows, found.columns = said["found"]["rows"], said["found"]["columns"]
    elif said["step"] == "check":
        found.check = Check(**said["found"])
