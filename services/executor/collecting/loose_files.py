"""Files that a notebook left in `outputs/` without saying so: whatever the language, they are kept as they are.

Looked for when the kernel is gone; what it left behind may go on all the same where no namespace holds it, so folders
are walked by descriptors. Links of both kinds are passed over: what they lead to need not be the run's own.
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

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""How a folder is opened to be read."""

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

    name: str  # relative to the outputs folder, with slashes
    content_type: str

    @property
    def file_name(self) -> str:
        """The last part of its name."""
        return PurePosixPath(self.name).name


def any_in(outputs: Path) -> bool:
    """Whether anything but records lies in the folder."""
    try:
        with os.scandir(outputs) as entries:
            return any(entry.name != RECORDS for entry in entries)
    except OSError:
        return False  # its own user took the right to read it away


def find(outputs: Path, known: AbstractSet[str], warnings: list[str]) -> list[LooseFile]:
    """The regular files under `outputs` that no record names, by name; notes in `warnings` what is left out."""
    found: list[LooseFile] = []
    for name in sorted(names_in(outputs)):
        if name in known:
            continue
        if len(found) >= MAX_FILES:
            warnings.append(f"Only the first {MAX_FILES:,} files left in the outputs folder were kept.")
            break
        if not name.isprintable():
            warnings.append(f"A file left in the outputs folder has an unusable name and was left out: {name!r:.200}")
            continue
        found.append(LooseFile(name=name, content_type=content_type_of(name)))
    return found


def content_type_of(name: str) -> str:
    """The MIME type of a file by its name."""
    suffix = PurePosixPath(name).suffix.lower()
    return TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def names_in(outputs: Path) -> list[str]:
    """Names of the regular files below a folder, with slashes, in no order."""
    try:
        folder = os.open(outputs, FOLDER)
    except OSError:
        return []
    try:
        return list(_regular_files(folder, "", 0))
    finally:
        os.close(folder)


def _regular_files(folder: int, prefix: str, depth: int) -> Iterator[str]:
    """Names of the files below an open folder; what is gone, or a link, by the time it is looked at is passed over."""
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError:
        return
    for entry in entries:
        try:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                yield prefix + entry.name
            if not stat.S_ISDIR(status.st_mode) or depth >= MAX_DEPTH or prefix + entry.name == RECORDS:
                continue
            inner = os.open(entry.name, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        except OSError:
            continue
        try:
            yield from _regular_files(inner, f"{prefix}{entry.name}/", depth + 1)
        finally:
            os.close(inner)
