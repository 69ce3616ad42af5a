"""Files that a notebook left in `outputs/` without saying so: whatever the language, they are kept as they are.

Looked for when the kernel is gone, so that nothing changes meanwhile. Links of both kinds are passed over: what they
lead to need not be the run's own.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MAX_FILES = 1_000
"""Files of one run that are kept; what is beyond is left out with a warning."""

MAX_DEPTH = 16
"""Folders within folders that are looked into."""

RECORDS = ".atelier"
"""Where the SDK keeps its records; no result by itself."""

TYPES = {
    ".csv": "text/csv",
    ".feather": "application/vnd.apache.arrow.file",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".xes": "application/xml",
}
"""MIME types that do not depend on what the machine knows."""


@dataclass(frozen=True, kw_only=True)
class LooseFile:
    """One file."""

    path: Path
    name: str  # relative to the outputs folder, with slashes
    content_type: str


def find(outputs: Path, known: AbstractSet[str], warnings: list[str]) -> list[LooseFile]:
    """The regular files under `outputs` that no record names, by name; notes in `warnings` what is left out."""
    found: list[LooseFile] = []
    for path in sorted(_regular_files(outputs, 0)):
        name = path.relative_to(outputs).as_posix()
        if name in known:
            continue
        if len(found) >= MAX_FILES:
            warnings.append(f"Only the first {MAX_FILES:,} files left in the outputs folder were kept.")
            break
        if not name.isprintable():
            warnings.append(f"A file left in the outputs folder has an unusable name and was left out: {name!r:.200}")
            continue
        found.append(LooseFile(path=path, name=name, content_type=content_type_of(name)))
    return found


def content_type_of(name: str) -> str:
    """The MIME type of a file by its name."""
    suffix = PurePosixPath(name).suffix.lower()
    return TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _regular_files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # its own user took the right to read it away
    for entry in entries:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH and not (depth == 0 and entry.name == RECORDS):
            yield from _regular_files(folder / entry.name, depth + 1)
        elif stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            yield folder / entry.name
