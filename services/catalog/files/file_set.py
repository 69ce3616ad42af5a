"""The files of one version: by path, with the address of their content. Pure, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Literal

import orjson

from services.catalog import faults
from shared import file_paths
from shared.contracts.base import rfc3339
from shared.contracts.files import FileInfo
from shared.contracts.notebooks import FileReference
from shared.contracts.versions import FileContent, FileDifference
from shared.errors import Fault, TooLarge
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES, MAX_FILES_BYTES


@dataclass(frozen=True)
class Entry:
    """What lies at a path. `modified` is None while the change that puts it there is being made."""

    sha256: str
    size: int
    modified: datetime | None = None

    def same_as(self, other: Entry | None) -> bool:
        """Return whether both have the same content."""
        return other is not None and (self.sha256, self.size) == (other.sha256, other.size)


@dataclass(frozen=True)
class FileSet:
    """All files of a version."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def stored(cls, body: bytes | None) -> FileSet:
        """Return the set from its stored form."""
        if body is None:
            return cls()
        return cls(
            {
                path: Entry(digest, size, datetime.fromisoformat(modified))
                for path, (digest, size, modified) in orjson.loads(body).items()
            }
        )

    @cached_property
    def body(self) -> bytes | None:
        """Its stored form; None for no files."""
        if not self.entries:
            return None
        rows = {
            path: (entry.sha256, entry.size, rfc3339(entry.modified) if entry.modified else None)
            for path, entry in self.entries.items()
        }
        return orjson.dumps(rows, option=orjson.OPT_SORT_KEYS)

    @property
    def address(self) -> bytes | None:
        """The hash of its stored form; None for no files."""
        return None if self.body is None else sha256(self.body).digest()

    @property
    def total_bytes(self) -> int:
        """What all files come to, in bytes."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def hashes(self) -> list[str]:
        """The SHA-256 of each content, once."""
        return sorted({entry.sha256 for entry in self.entries.values()})

    def fingerprint(self) -> list[tuple[str, str]]:
        """Return a value that is equal for equal files, whenever they were put there."""
        return sorted((path, entry.sha256) for path, entry in self.entries.items())

    def with_files(self, files: Iterable[FileReference], *, replace_all: bool) -> FileSet:
        """Return the set with these files put in. A file that is there already stays as it is."""
        put: dict[str, Entry] = {}
        for file in files:
            new, old = Entry(file.sha256, file.size_bytes), self.entries.get(file.path)
            put[file.path] = old if old is not None and old.same_as(new) else new
        return FileSet(put if replace_all else {**self.entries, **put})

    def without(self, path: str) -> FileSet:
        """Return the set without one file."""
        return FileSet({name: entry for name, entry in self.entries.items() if name != path})

    def dated(self, at: datetime) -> FileSet:
        """Return the set with the time of the change at those files that it puts there."""
        return FileSet(
            {
                path: entry if entry.modified is not None else replace(entry, modified=at)
                for path, entry in self.entries.items()
            }
        )

    def shown(self, paths: Iterable[str] | None = None) -> list[FileInfo]:
        """Return the files, or those at `paths`, as the API shows them, by path."""
        wanted = sorted(self.entries if paths is None else paths)
        return [shown(path, self.entries[path]) for path in wanted]

    def references(self) -> list[FileReference]:
        """Return the files by their contents, by path."""
        return [
            FileReference(path=path, sha256=entry.sha256, size_bytes=entry.size)
            for path, entry in sorted(self.entries.items())
        ]


def shown(path: str, entry: Entry) -> FileInfo:
    """Return a file as the API shows it."""
    if entry.modified is None:
        raise LookupError("a stored file has its time")
    return FileInfo(
        path=path,
        size_bytes=entry.size,
        sha256=entry.sha256,
        media_type=file_paths.media_type_of(path),
        date_modified=entry.modified,
    )


def check(files: Sequence[FileReference], wanted: FileSet) -> None:
    """Raise Invalid or TooLarge unless `files` can be put, and `wanted` is what a notebook may have then."""
    times = Counter(file.path for file in files)
    found = [Fault(path=path, message="is given more than once") for path, count in times.items() if count > 1]
    found += [
        Fault(path=below, message=f"needs {above} to be a folder, which is a file")
        for above, below in file_paths.collisions(wanted.entries.keys())
    ]
    faults.refuse(found, "The files")
    for file in files:
        if file.size_bytes > MAX_FILE_BYTES:
            raise TooLarge(f"A file has at most {MAX_FILE_BYTES:,} bytes; {file.path} has {file.size_bytes:,}.")
    if len(wanted.entries) > MAX_FILES:
        raise TooLarge(f"A notebook has at most {MAX_FILES:,} files; it would have {len(wanted.entries):,}.")
    if wanted.total_bytes > MAX_FILES_BYTES:
        raise TooLarge(
            f"The files of a notebook have at most {MAX_FILES_BYTES:,} bytes together; they would have "
            f"{wanted.total_bytes:,}."
        )


def compare(a: FileSet, b: FileSet) -> list[FileDifference]:
    """Return the files that differ, by path."""
    found = []
    for path in sorted({*a.entries, *b.entries}):
        before, after = a.entries.get(path), b.entries.get(path)
        if before is not None and before.same_as(after):
            continue
        change: Literal["added", "removed", "changed"] = (
            "added" if before is None else "removed" if after is None else "changed"
        )
        found.append(FileDifference(path=path, change=change, a=_content(before), b=_content(after)))
    return found


def _content(entry: Entry | None) -> FileContent | None:
    return None if entry is None else FileContent(sha256=entry.sha256, size_bytes=entry.size)
