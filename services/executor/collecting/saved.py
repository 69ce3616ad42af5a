"""What a notebook saved through the SDK: records in outputs/.atelier, read with suspicion: a kernel wrote them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

MAX_RECORDS = 10_000
"""Records of one run that are read; what is beyond is left out with a warning."""

MAX_RECORD_BYTES = 16_000_000
"""A record larger than this is refused, in bytes."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    kind: Literal["enriched_dataset", "model", "report", "value", "figure"]
    name: str = Field(min_length=1, max_length=200)
    file: str | None = None
    content_type: str | None = None
    value: JsonValue = None
    record_count: int | None = None
    columns: list[str] = Field(default_factory=list)
    new_columns: list[str] = Field(default_factory=list)
    title: str | None = Field(None, max_length=300)
    column_types: list[str] | None = None
    """Of a table in CSV, from kernels without a Parquet writer: a type for each column (`csv_tables.TYPES`)."""
    model_type: str | None = None
    framework: str | None = None
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    accuracy: float | None = None
    features: list[str] = Field(default_factory=list)
    format: str | None = None


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One thing that the notebook handed back."""

    number: str
    record: _Record
    path: Path | None

    @property
    def details(self) -> dict[str, Any]:
        """The members of its kind."""
        return self.record.model_dump(
            mode="json",
            by_alias=True,
            exclude={"kind", "name", "file", "content_type", "value", "title", "column_types"},
            exclude_none=True,
        )


class SavedFiles:
    """Reads the records of one run folder, each once."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._seen: set[str] = set()
        self.files: set[str] = set()
        """The files that records name, relative to the outputs folder."""
        self.warnings: list[str] = []

    def new(self) -> Iterator[Saved]:
        """What was saved since the last call, in order; faulty records become warnings."""
        folder = self._outputs / ".atelier"
        if folder.is_symlink():
            return  # the notebook has put a link to somewhere else in its place
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
        except OSError:
            return
        for name in names:
            if name in self._seen:
                continue
            if len(self._seen) >= MAX_RECORDS:
                self.warnings.append(f"Only the first {MAX_RECORDS} saved artifacts were kept.")
                return
            self._seen.add(name)
            try:
                yield self._read(folder / name)
            except (OSError, ValueError, ValidationError) as error:
                self.warnings.append(f"A saved artifact ({name}) could not be read and was left out: {_first(error)}")

    def _read(self, path: Path) -> Saved:
        raw = _regular_bytes(path, MAX_RECORD_BYTES)
        record = _Record.model_validate(orjson.loads(raw))
        file = None
        if record.file is not None:
            self.files.add(os.path.normpath(record.file))
            file = self._outputs / record.file
            _check_inside(self._outputs, file)
        elif record.kind != "value":
            raise ValueError("it names no file")
        return Saved(number=path.stem, record=record, path=file)


def _regular_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file that is no link; raises ValueError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > limit:
            raise ValueError(f"it is larger than {limit} bytes")
        return file.read(limit)


def _check_inside(folder: Path, file: Path) -> None:
    """Raise ValueError unless `file` is a regular file really inside `folder`, reached without links."""
    resolved = file.resolve(strict=True)
    if not resolved.is_relative_to(folder.resolve()):
        raise ValueError("its file lies outside the outputs folder")
    status = os.lstat(file)
    if not stat.S_ISREG(status.st_mode) or resolved != file.parent.resolve() / file.name or status.st_nlink > 1:
        raise ValueError("its file is no regular file of its own")


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    return str(error)[:200]
