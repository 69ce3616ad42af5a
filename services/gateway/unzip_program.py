"""The program that takes an archive apart: run by `shared.apart`, since the archive may be made to do harm.

The zip lies behind a descriptor. Out come frames (a letter, four bytes of length, the content): `F` begins a file (its
path), `D` is more of it, `E` ends it, `W` are warnings (JSON), `X` is a refusal (JSON: fault or size). What is inflated
is counted, so that a bomb ends at the limits that a notebook has anyhow; the parent counts once more.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from typing import Any

import orjson

from shared import file_paths
from shared.file_limits import MAX_FILE_BYTES, MAX_FILES, MAX_FILES_BYTES

MAX_ENTRIES = 10 * MAX_FILES
"""Entries of an archive, folders and what file managers leave included."""

MAX_NAMED = 20
"""Faulty entries that are named one by one."""

PIECE_BYTES = 256 * 1024
"""Inflated at a time, in bytes."""

UTF_8_FLAG, ENCRYPTED_FLAG = 0x800, 0x1

DAMAGED = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, ValueError, UnicodeError)
"""What the library raises for bytes that are no archive, or a damaged one."""


class _Refused(Exception):
    """The archive cannot be taken; `faults` are pairs of a path and a message."""

    def __init__(self, *faults: tuple[str, str], too_large: bool = False) -> None:
        super().__init__()
        self.faults, self.too_large = faults, too_large


def answer(question: dict[str, Any]) -> Iterator[bytes]:
    """Yield the frames. `question`: `descriptor`, and whether a `notebook` is looked for among the files."""
    try:
        with os.fdopen(question["descriptor"], "rb") as file, _opened(file) as archive:
            entries, leftovers = _entries(archive)
            notebook = None
            if question["notebook"]:
                notebook, entries = _beside_notebook(entries)
            yield from _files(archive, entries, notebook)
            if leftovers:
                yield _frame(b"W", orjson.dumps(_warning(leftovers)))
    except _Refused as refusal:
        yield _frame(b"X", orjson.dumps({"faults": refusal.faults, "tooLarge": refusal.too_large}))


def _opened(file: Any) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except DAMAGED as error:
        raise _Refused(("file", f"is no zip archive that can be read: {error}"[:300])) from error


def _entries(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """Return the files by the paths that they get, and the names of those that nobody wants. Raises _Refused."""
    every = archive.infolist()
    if len(every) > MAX_ENTRIES:
        raise _Refused(("file", f"has more than {MAX_ENTRIES:,} entries"), too_large=True)
    found: dict[str, zipfile.ZipInfo] = {}
    leftovers, faults = [], []
    for info in every:
        name = _name(info)
        if name.endswith("/"):
            continue
        if file_paths.is_leftover(name):
            leftovers.append(name)
            continue
        try:
            path = file_paths.checked(name)
            _check(info)
        except ValueError as error:
            faults.append((_shown(name), str(error)))
            continue
        if path in found:
            faults.append((path, "is in the archive more than once"))
        found[path] = info
    faults += [
        (below, f"needs {above} to be a folder, which is a file")
        for above, below in file_paths.collisions(found.keys())
    ]
    if faults:
        raise _Refused(*faults[:MAX_NAMED])
    return found, leftovers


def _name(info: zipfile.ZipInfo) -> str:
    """Return the entry's name. Some programs write UTF-8 without saying so, which the library takes for code page
    437; it also ends a name at its first NUL, behind which another one could hide."""
    name = info.orig_filename
    if not info.flag_bits & UTF_8_FLAG and not name.isascii():
        try:
            return name.encode("cp437").decode("utf-8")
        except UnicodeError:
            return name
    return name


def _check(info: zipfile.ZipInfo) -> None:
    """Raise ValueError for an entry that is no plain file."""
    if info.flag_bits & ENCRYPTED_FLAG:
        raise ValueError("is encrypted")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise ValueError("is a symbolic link; put the file itself into the archive")
    if kind not in (0, stat.S_IFREG):
        raise ValueError("is no regular file")


def _beside_notebook(entries: dict[str, zipfile.ZipInfo]) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """Return the path of the one notebook, and all files with paths relative to its folder. Raises _Refused."""
    notebooks = sorted(path for path in entries if path.lower().endswith(".ipynb"))
    if not notebooks:
        raise _Refused(("file", "has no notebook (.ipynb) in it"))
    if len(notebooks) > 1:
        names = ", ".join(notebooks[:5]) + (" and others" if len(notebooks) > 5 else "")
        raise _Refused(
            ("file", f"has several notebooks in it: {names}. Leave one; put the others beside it with PUT …/files")
        )
    folder = notebooks[0].rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    outside = [path for path in entries if not path.startswith(prefix)]
    if outside:
        raise _Refused(
            *((path, f"lies outside of the notebook's folder {folder}") for path in sorted(outside)[:MAX_NAMED])
        )
    return notebooks[0].removeprefix(prefix), {path.removeprefix(prefix): info for path, info in entries.items()}


def _files(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], notebook: str | None) -> Iterator[bytes]:
    """Yield the frames of the files, the notebook first. Raises _Refused."""
    if len(entries) - (notebook is not None) > MAX_FILES:
        raise _Refused(("file", f"has more than {MAX_FILES:,} files in it"), too_large=True)
    order = sorted(entries, key=lambda path: path != notebook)
    total = 0
    for path in order:
        yield _frame(b"F", path.encode())
        size = 0
        for piece in _inflated(archive, entries[path], path):
            size += len(piece)
            total += len(piece)
            if size > MAX_FILE_BYTES:
                raise _Refused((path, f"inflates to more than {MAX_FILE_BYTES:,} bytes"), too_large=True)
            if total > MAX_FILES_BYTES:
                raise _Refused(("file", f"inflates to more than {MAX_FILES_BYTES:,} bytes"), too_large=True)
            yield _frame(b"D", piece)
        yield _frame(b"E", b"")


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> Iterator[bytes]:
    try:
        with archive.open(info) as entry:
            while piece := entry.read(PIECE_BYTES):
                yield piece
    except (NotImplementedError, RuntimeError) as error:
        raise _Refused((path, f"cannot be unpacked: {error}"[:300])) from error
    except DAMAGED as error:
        raise _Refused((path, f"is damaged: {error}"[:300])) from error


def _frame(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4) + content


def _shown(name: str) -> str:
    return name[:200].encode("utf-8", "replace").decode()


def _warning(leftovers: list[str]) -> list[str]:
    names = ", ".join(map(_shown, leftovers[:5])) + (" and others" if len(leftovers) > 5 else "")
    return [f"Left out, since only file managers and caches make such files: {names}."]
