"""File names inside an archive: safe to unpack anywhere, and each once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

MAX_NAME_BYTES = 200
"""Longest file name, in bytes of UTF-8: file systems take 255, and there must be room for a number."""

_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows gives to devices."""


def archive_names(wanted: Iterable[str], *, taken: Iterable[str]) -> list[str]:
    """A name for each wanted one: without a path, and unique even where letter case does not count."""
    used = {name.casefold() for name in taken}
    names = []
    for candidate in map(plain_name, wanted):
        stem, suffix = _parts(candidate)
        name, number = candidate, 2
        while name.casefold() in used:
            name, number = f"{stem}-{number}{suffix}", number + 1
        used.add(name.casefold())
        names.append(name)
    return names


def plain_name(text: str) -> str:
    """The last part of a path, without anything that a file system or an unpacker might take amiss."""
    last = text.replace("\\", "/").rpartition("/")[2]
    name = unicodedata.normalize("NFC", _UNSAFE.sub("_", last)).strip(" .")
    if not name or _RESERVED.match(name):
        name = f"file-{name}" if name else "file"
    stem, suffix = _parts(name)
    room = MAX_NAME_BYTES - len(suffix.encode())
    return stem.encode("utf-8", "replace")[:room].decode("utf-8", "ignore") + suffix


def _parts(name: str) -> tuple[str, str]:
    suffix = PurePosixPath(name).suffix
    if len(suffix.encode()) > 20:  # not an extension but a sentence with a full stop in it
        suffix = ""
    return name.removesuffix(suffix) if suffix else name, suffix
