"""Writes what a run hands back: a data file, then a numbered record that names it, never half of either.

Rules for names. A name is text of 1 to 200 printable characters and is kept as it is in the record; the file gets a
safe form of it. Saving again under the same kind and name is allowed (cells are run twice): every save has its own
file and record, nothing recorded ever changes, and for readers the record with the highest number counts.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mindzie_sdk.errors import InvalidNameError, MindzieError, NotSavableError
from mindzie_sdk.json_values import to_json
from mindzie_sdk.run_folder import SCHEMA_VERSION

MAX_NAME_CHARACTERS = 200  # as long as a notebook's name may be
MAX_STEM_CHARACTERS = 80  # leaves room for a number and a suffix under the 255 bytes of a file name
MAX_RECORD_BYTES = 1024 * 1024  # the most a result shows inline; more belongs into a table or a file
MAX_RECORDS = 999_999  # six digits


def checked_name(name: object, kind: str) -> str:
    """Returns the name without spaces around it. Raises InvalidNameError when it is no usable name."""
    if not isinstance(name, str):
        raise InvalidNameError(f"the name of a {kind} must be text, not {type(name).__name__}")
    stripped = name.strip()
    if not stripped:
        raise InvalidNameError(f'the name of a {kind} is empty: pass name="…"')
    if len(stripped) > MAX_NAME_CHARACTERS:
        raise InvalidNameError(
            f"the name of a {kind} has {len(stripped)} characters: use at most {MAX_NAME_CHARACTERS}"
        )
    if not stripped.isprintable():
        raise InvalidNameError(f"the name of a {kind} has line breaks or control characters: {stripped!r}")
    return stripped


def file_stem(name: str) -> str:
    """Returns a form of the name that is safe as a file name everywhere: letters, digits, `.`, `_` and `-`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._-")[:MAX_STEM_CHARACTERS].rstrip("._-")
    return stem or "unnamed"


class OutputWriter:
    """Writes into `outputs/` of one run folder; several writers, also in forked processes, may share it."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "outputs"
        self._records = self.folder / ".atelier"

    def save_file(self, name: str, suffix: str, write: Callable[[Path], None]) -> str:
        """Has `write` fill a file and then shows it under a free name made from `name`; returns that name.

        Whatever `write` raises is raised again, and then no file shows.
        """
        partial = self._partial_path()
        try:
            write(partial)
            final = self._reserve(file_stem(name), suffix)
            partial.replace(final)
        except OSError as error:
            _refuse(error)
        finally:
            partial.unlink(missing_ok=True)
        return final.name

    def add_record(self, kind: str, name: str, members: Mapping[str, Any]) -> None:
        """Writes one record. Raises NotSavableError when a member has no JSON form or all are over a mebibyte."""
        created = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"schemaVersion": SCHEMA_VERSION, "kind": kind, "name": name, "createdAt": created}
        text = json.dumps(to_json({**record, **members}), ensure_ascii=False, allow_nan=False)
        content = text.encode("utf-8")
        if len(content) > MAX_RECORD_BYTES:
            raise NotSavableError(
                f"{kind} {name!r} has {len(content):,} bytes of JSON, more than {MAX_RECORD_BYTES:,}:"
                " save a table with save_enriched_dataset instead"
            )
        try:
            self._write_record(content)
        except OSError as error:
            _refuse(error)

    def _write_record(self, content: bytes) -> None:
        self._records.mkdir(parents=True, exist_ok=True)
        taken = (entry.name[:6] for entry in os.scandir(self._records) if re.match(r"\d{6}\.", entry.name))
        number = max((int(digits) for digits in taken), default=0) + 1
        while number <= MAX_RECORDS:
            final, partial = self._records / f"{number:06}.json", self._records / f"{number:06}.partial"
            number += 1
            try:
                descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue  # another process is writing this number
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            # Only after the partial name is ours is this answer final: the one before us frees it by renaming.
            if final.exists():
                partial.unlink()
                continue
            partial.replace(final)
            return
        raise MindzieError(f"this run has {MAX_RECORDS:,} records already: save fewer, larger things")

    def _partial_path(self) -> Path:
        try:
            self._records.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _refuse(error)
        return self._records / f"partial-{secrets.token_hex(8)}"

    def _reserve(self, stem: str, suffix: str) -> Path:
        number = 1
        while True:
            path = self.folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            except FileExistsError:
                number += 1
                continue
            return path


def _refuse(error: OSError) -> NoReturn:
    raise MindzieError(f"cannot write to the run's outputs: {error.strerror or error}") from error
