"""What a notebook saved through the SDK: records in outputs/.atelier, read with suspicion: a kernel wrote them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from services.executor import wording
from services.executor.collecting.beneath import Folder, OpenFile, Refused
from shared import exact_numbers

RECORDS = ".atelier"
"""Where the records lie, in the outputs folder."""

MAX_RECORDS = 2_000
"""Records of one run that are read; what is beyond is left out with a warning."""

MAX_RECORD_BYTES = 16_000_000
"""A record larger than this is refused, in bytes."""

MAX_ALL_RECORDS_BYTES = 64_000_000
"""Records of one run come to no more, in bytes: the worker holds them in memory."""

MAX_ALL_VALUES = 1_000_000
"""Values in the JSON of all records of one run: each takes far more memory than its text."""

MAX_COLUMNS = 20_000
"""Columns, or features, that one record names."""

MAX_WARNINGS = 20
"""Faulty records that are named one by one."""

SETTLED_NS = 50_000_000
"""A folder whose last change is older than this when it is read has been read to its end; the clock of file times is
coarse."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    kind: Literal["enriched_dataset", "model", "report", "value", "figure"]
    name: str = Field(min_length=1, max_length=200)
    file: str | None = None
    content_type: str | None = None
    value: JsonValue = None
    record_count: int | None = None
    columns: list[str] = Field(default_factory=list, max_length=MAX_COLUMNS)
    new_columns: list[str] = Field(default_factory=list, max_length=MAX_COLUMNS)
    title: str | None = Field(None, max_length=300)
    column_types: list[str] | None = Field(None, max_length=MAX_COLUMNS)
    """Of a table in CSV, from kernels without a Parquet writer: a type for each column (`csv_tables.TYPES`)."""
    model_type: str | None = None
    framework: str | None = None
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    accuracy: float | None = None
    features: list[str] = Field(default_factory=list, max_length=MAX_COLUMNS)
    format: str | None = None


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One thing that the notebook handed back; `size` is its file's when it was noted."""

    number: str
    record: _Record
    size: int = 0

    @property
    def file_name(self) -> str:
        """The last part of its file's name, as the notebook chose it."""
        return PurePosixPath(self.record.file or "").name

    @property
    def details(self) -> dict[str, Any]:
        """The members of its kind."""
        return self.record.model_dump(
            mode="json",
            by_alias=True,
            exclude={"kind", "name", "file", "content_type", "value", "title", "column_types"},
            exclude_none=True,
        )


def saved_value(number: str, name: str, value: Any) -> Saved:
    """A value that was handed back by other means than a record; `number` is its own among all that was saved."""
    return Saved(number=number, record=_Record(kind="value", name=name, value=value))


class SavedFiles:
    """Reads the records of one run folder, each once. `max_bytes`: what the files handed back may come to."""

    def __init__(self, outputs: Path, *, max_bytes: int) -> None:
        self._folder = Folder(outputs)
        self._max_bytes = max_bytes
        self._bytes = self._record_bytes = self._values = 0
        self._loose: dict[str, int] = {}
        self._seen: set[str] = set()
        self.files: set[str] = set()
        """The files that records name, relative to the outputs folder."""
        self._full = self._too_large = False
        self._unchanged_since: int | None = None
        self._faults = 0
        self.warnings: list[str] = []

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.close()

    def may_have_new(self) -> bool:
        """Whether it is worth while to call `new`; costs two system calls."""
        try:
            folder = self._folder.open_folder(RECORDS)
        except (OSError, Refused):
            return False
        try:
            changed = os.fstat(folder).st_mtime_ns
        finally:
            os.close(folder)
        return changed != self._unchanged_since

    def new(self) -> list[Saved]:
        """What was saved since the last call, in order; faulty records become warnings."""
        try:
            folder = self._folder.open_folder(RECORDS)
        except (OSError, Refused):
            return []  # the notebook has put something else in its place
        try:
            looked_at, changed = time.time_ns(), os.fstat(folder).st_mtime_ns
            with os.scandir(folder) as entries:
                names = sorted(
                    entry.name for entry in entries if entry.name.endswith(".json") and entry.name not in self._seen
                )
        finally:
            os.close(folder)
        self._unchanged_since = changed if 0 <= looked_at - changed > SETTLED_NS else None
        found = []
        for name in names:
            if len(self._seen) >= MAX_RECORDS:
                self._say_full()
                break
            self._seen.add(name)
            try:
                found.append(self._read(name))
            except (OSError, ValueError, ValidationError) as error:
                self._leave_out(name, error)
        return found

    def open(self, saved: Saved) -> OpenFile:
        """The file of a record, checked anew. Raises Refused or OSError."""
        file = self._folder.open_file(saved.record.file or "")
        if file.status.st_size > max(saved.size, self._max_bytes - self._bytes + saved.size):
            file.close()
            raise Refused("it has grown over the limit since it was saved")
        return file

    def open_loose(self, name: str) -> OpenFile:
        """A file that no record names, again if storing it has failed. Raises Refused or OSError."""
        file = self._folder.open_file(name)
        size, others = file.status.st_size, self._bytes - self._loose.get(name, 0)
        if others + size > self._max_bytes:
            file.close()
            self._say_too_large()
            raise Refused("it is too large")
        self._bytes, self._loose[name] = others + size, size
        return file

    @property
    def path(self) -> Path:
        """The outputs folder itself, whatever lies in its place by now; for this process alone."""
        return self._folder.path

    def warn(self, saved: Saved, reason: object) -> None:
        """Something saved could not be stored after all."""
        self._leave_out(f"{saved.number}.json", ValueError(str(reason)))

    def _read(self, name: str) -> Saved:
        raw = self._bytes_of(name)
        self._values += 1 + raw.count(b",") + raw.count(b"[") + raw.count(b"{")
        if self._values > MAX_ALL_VALUES:
            raise ValueError(f"the records hold more than {MAX_ALL_VALUES:,} values; save large data as a table")
        content = orjson.loads(raw)
        _refuse_large_integers(raw)
        record = _Record.model_validate(content)
        if b"\\u0000" in raw or "\0" in record.name:
            raise ValueError("it contains a NUL character")
        if record.kind == "value":
            try:
                orjson.dumps(record.value)
            except TypeError:
                raise ValueError("its value is nested too deeply or is no JSON") from None
        if record.file is None:
            if record.kind != "value":
                raise ValueError("it names no file")
            return Saved(number=name.removesuffix(".json"), record=record)
        self.files.add(os.path.normpath(record.file))
        file = self._folder.open_file(record.file)
        size = file.status.st_size
        file.close()
        if self._bytes + size > self._max_bytes:
            self._say_too_large()
            raise Refused("its file is too large")
        self._bytes += size
        return Saved(number=name.removesuffix(".json"), record=record, size=size)

    def _bytes_of(self, name: str) -> bytes:
        file = self._folder.open_file(f"{RECORDS}/{name}")
        with os.fdopen(file.descriptor, "rb") as stream:
            if file.status.st_size > MAX_RECORD_BYTES:
                raise ValueError(f"it is larger than {MAX_RECORD_BYTES} bytes")
            self._record_bytes += file.status.st_size
            if self._record_bytes > MAX_ALL_RECORDS_BYTES:
                raise ValueError(f"the records come to more than {MAX_ALL_RECORDS_BYTES} bytes")
            return stream.read(MAX_RECORD_BYTES)

    def _say_full(self) -> None:
        if not self._full:
            self._full = True
            self.warnings.append(f"Only the first {MAX_RECORDS} saved artifacts were kept.")

    def _say_too_large(self) -> None:
        if not self._too_large:
            self._too_large = True
            limit = wording.limit(self._max_bytes)
            self.warnings.append(f"The saved files are larger than {limit} together; those over it were left out.")

    def _leave_out(self, name: str, error: Exception) -> None:
        self._faults += 1
        if self._faults <= MAX_WARNINGS:
            self.warnings.append(f"A saved artifact ({name}) could not be read and was left out: {_first(error)}")
        elif self._faults == MAX_WARNINGS + 1:
            self.warnings.append("More saved artifacts could not be read and were left out.")


def _refuse_large_integers(raw: bytes) -> None:
    """Raise ValueError for a whole number that our reader of JSON has rounded."""
    try:
        places = exact_numbers.large_integers(raw, 1)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if places:
        raise ValueError(f"{'.'.join(map(str, places[0]))} {exact_numbers.MESSAGE}")


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    return str(error)[:200]
