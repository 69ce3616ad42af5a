"""Lays a notebook's files into the work folder of its run, as the kernel's own: copies that it may change.

The kernel is ready by then, and where it belongs to a built environment it has run code that nobody vouches for. So
nothing is reached by a path: every folder is opened from the one above it, never through a link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared import file_paths
from shared.contracts.notebooks import FileReference

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened."""

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a file is made."""

COPIED_BYTES = 16 * 1024 * 1024
"""How much is copied by one system call, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A file as it was laid. Whatever is done to it changes the time of its last change, which nobody can set."""

    sha256: str
    size: int
    inode: int
    changed_ns: int

    def is_untouched(self, now: os.stat_result) -> bool:
        """Return whether nothing has been done to the file; if something has, its bytes may still be the same."""
        return (now.st_size, now.st_ino, now.st_ctime_ns) == (self.size, self.inode, self.changed_ns)


def lay(work: Path, files: Sequence[FileReference], contents: Mapping[str, Path]) -> dict[str, Laid]:
    """Copy the files into `work`, from where their contents lie; return how they lie there, by path. Raises OSError.
    The copies share the disk's blocks with the cache where the file system can do that."""
    laid = {}
    root = os.open(work, FOLDER)
    try:
        owner = os.fstat(root)
        for folder in file_paths.folders_of(file.path for file in files):
            with _above(root, folder) as (above, name):
                _make_folder(above, name, owner)
        for file in files:
            with _above(root, file.path) as (above, name):
                state = _copy(contents[file.sha256], above, name, owner)
            laid[file.path] = Laid(
                sha256=file.sha256, size=state.st_size, inode=state.st_ino, changed_ns=state.st_ctime_ns
            )
    finally:
        os.close(root)
    return laid


@contextmanager
def _above(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The open folder that a path ends in, and its last name."""
    *folders, name = path.split("/")
    above = os.dup(root)
    try:
        for folder in folders:
            inner = os.open(folder, FOLDER, dir_fd=above)
            os.close(above)
            above = inner
        yield above, name
    finally:
        os.close(above)


def _make_folder(above: int, name: str, owner: os.stat_result) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return
    folder = os.open(name, FOLDER, dir_fd=above)
    try:
        _hand_over(folder, owner, stat.S_IMODE(owner.st_mode))
    finally:
        os.close(folder)


def _copy(source: Path, above: int, name: str, owner: os.stat_result) -> os.stat_result:
    """Copy one file; return its state. Something that lies there already, which the kernel has made, gives way."""
    try:
        target = os.open(name, NEW_FILE, 0o600, dir_fd=above)
    except FileExistsError:
        os.unlink(name, dir_fd=above)
        target = os.open(name, NEW_FILE, 0o600, dir_fd=above)
    try:
        origin = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _copy_bytes(origin, target)
        finally:
            os.close(origin)
        _hand_over(target, owner, 0o664)
        return os.fstat(target)
    finally:
        os.close(target)


def _copy_bytes(origin: int, target: int) -> None:
    left = os.fstat(origin).st_size
    in_kernel = True
    while left:
        try:
            copy = os.copy_file_range if in_kernel else _send
            count = copy(origin, target, min(left, COPIED_BYTES))
        except OSError:
            if not in_kernel:
                raise
            in_kernel = False  # the file systems are two, or of a kind that cannot do it
            continue
        if not count:
            raise OSError(errno.EIO, "a content of the cache is shorter than it was")
        left -= count


def _send(origin: int, target: int, count: int) -> int:
    """As copy_file_range, from the place where reading and writing stand; raises OSError."""
    piece = os.read(origin, min(count, 1024 * 1024))
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]
    return len(piece)


def _hand_over(descriptor: int, owner: os.stat_result, mode: int) -> None:
    """Give a file to the owner of the work folder, and the rights to it that everything there has."""
    if owner.st_uid != os.geteuid():
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    os.fchmod(descriptor, mode)
