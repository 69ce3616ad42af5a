"""Paths of files beside a notebook: which are allowed, and in which form they are kept. Pure, no I/O."""

from __future__ import annotations

import mimetypes
import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath

MAX_SEGMENT_BYTES = 255
"""Longest name of a file or folder on Linux (NAME_MAX), in bytes of UTF-8."""

MAX_PATH_BYTES = 1_024
"""Longest path, in bytes of UTF-8: with the run folder before it, it stays far below what Linux takes (4,096)."""

MAX_FOLDERS = 32
"""Most folders within one another."""

RESERVED = {
    ".atelier": "the platform keeps records of its own under this name",
    ".ipynb_checkpoints": "JupyterLab keeps copies under this name, which no run needs",
    "__pycache__": "Python makes it by itself",
}
"""Names that no file or folder may have, and why."""

LEFTOVERS = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__pycache__"})
"""Names that file managers, Python and JupyterLab leave in folders; archives that hold them are common."""

BINARY = "application/octet-stream"

_TYPES = {
    ".csv": "text/csv",
    ".feather": "application/vnd.apache.arrow.file",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".py": "text/x-python",
    ".r": "text/x-r",
    ".scala": "text/x-scala",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".xes": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
"""Media types that do not depend on what the machine knows."""

_KNOWN = mimetypes.MimeTypes()
"""The library's own table, without the machine's files."""


def normalized(path: str) -> str:
    """Return `path` as it is kept: in Unicode's composed form (NFC), and without `./` at its beginning. One that is far
    too long comes back as it is: composing takes time in the square of its length."""
    if len(path) > 2 * MAX_PATH_BYTES:
        return path
    path = unicodedata.normalize("NFC", path)
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path


def fault_of(path: str) -> str | None:
    """Return what is wrong with a normalized path, as the rest of a sentence that begins with it, or None."""
    if not path:
        return "is empty"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if size > MAX_PATH_BYTES:
        return f"has {size:,} bytes; a path has at most {MAX_PATH_BYTES:,}"
    if "\\" in path:
        return "contains a backslash; separate folders with a slash (/)"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in path):
        return "contains a control character or a line break"
    if path.startswith("/"):
        return "is absolute; give it relative to the notebook's folder"
    segments = path.split("/")
    if len(segments) > MAX_FOLDERS:
        return f"has more than {MAX_FOLDERS} folders within one another"
    return next(filter(None, map(_fault_of_segment, segments)), None)


def checked(path: str) -> str:
    """Return `path` in the form in which it is kept; raises ValueError that says what is wrong with it."""
    path = normalized(path)
    fault = fault_of(path)
    if fault is not None:
        raise ValueError(fault)
    return path


def is_leftover(path: str) -> bool:
    """Return whether an entry of an archive is nothing that anybody put there on purpose."""
    segments = path.split("/")
    return not LEFTOVERS.isdisjoint(segments) or segments[-1].startswith("._")


def collisions(paths: AbstractSet[str]) -> list[tuple[str, str]]:
    """Return the pairs of a path and another one that would need it to be a folder."""
    return [
        (above, path) for path in sorted(paths) for above in map(str, PurePosixPath(path).parents) if above in paths
    ]


def media_type_of(path: str) -> str:
    """Return the media type of a file by its name."""
    suffix = PurePosixPath(path).suffix.lower()
    return _TYPES.get(suffix) or _KNOWN.guess_type(f"x{suffix}", strict=True)[0] or BINARY


def folders_of(paths: Iterable[str]) -> list[str]:
    """Return the folders that the paths lie in, each after the one around it."""
    found = {str(above) for path in paths for above in PurePosixPath(path).parents} - {"."}
    return sorted(found, key=lambda folder: (folder.count("/"), folder))


def _fault_of_segment(segment: str) -> str | None:
    if segment == "":
        return "has an empty name in it (two slashes, or one at its end)"
    if segment in (".", ".."):
        return f"contains {segment!r}; it must not lead out of the notebook's folder"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return f"has a name of more than {MAX_SEGMENT_BYTES} bytes in it"
    if segment in RESERVED:
        return f"contains {segment}, which is reserved: {RESERVED[segment]}"
    return None
