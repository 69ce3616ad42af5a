"""How much of the disk a run takes: its files, and those that it has removed and still holds open. A kernel owns the
folders that are looked at, so nothing is reached by a path that could be a link by now."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.executor.kernels.forkserver.view import WRITABLE

MAX_DEPTH = 200
"""Folders may be nested so deep; each level costs an open descriptor while we look."""

BLOCK_BYTES = 512
"""Unit of st_blocks (stat(2))."""


@dataclass
class Footprint:
    """What was found; `cut_off` when there were more files than asked for, `nested` when folders go too deep."""

    used: int = 0
    files: int = 0
    cut_off: bool = False
    nested: bool = False


def measure(run_dir: Path, *, max_files: int, names: Sequence[str] = WRITABLE) -> Footprint:
    """What a kernel has written, without what it has removed. Stops after `max_files` files and folders."""
    found = Footprint()
    for name in names:
        with contextlib.suppress(OSError):  # a kernel may have put anything in its place
            _look_into(os.open(run_dir / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), 1, max_files, found)
        if found.cut_off or found.nested:
            break
    return found


def _look_into(folder: int, depth: int, max_files: int, found: Footprint) -> None:
    """Count what is in an open folder, and close it."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found.files += 1
                if found.files > max_files:
                    found.cut_off = True
                    return
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed while we looked
                found.used += status.st_blocks * BLOCK_BYTES // max(status.st_nlink, 1)
                if stat.S_ISDIR(status.st_mode):
                    if depth >= MAX_DEPTH:
                        found.nested = True
                        return
                    inner = _open_folder(entry.name, folder)
                    if inner is not None:
                        _look_into(inner, depth + 1, max_files, found)
                if found.cut_off or found.nested:
                    return
    finally:
        os.close(folder)


def _open_folder(name: str, above: int) -> int | None:
    """An open folder; one that its owner has locked is unlocked where this process may."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=above)
    except PermissionError:
        with contextlib.suppress(OSError):
            handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            try:
                os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 - a descriptor, no path
            finally:
                os.close(handle)
            return os.open(name, flags, dir_fd=above)
    except OSError:
        pass  # no folder any more
    return None


def removed_but_open(run_dir: Path, processes: Iterable[int]) -> int:
    """Bytes of files that have no name any more and are open in one of these processes, as far as that can be seen."""
    device = os.stat(run_dir).st_dev  # noqa: PTH116 - beside the calls below
    sizes: dict[int, int] = {}
    for pid in processes:
        with contextlib.suppress(OSError):  # it has ended, or may not be looked at
            for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - hot loop
                with contextlib.suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116 - a descriptor, no path
                    if status.st_nlink == 0 and status.st_dev == device and stat.S_ISREG(status.st_mode):
                        sizes[status.st_ino] = status.st_blocks * BLOCK_BYTES
    return sum(sizes.values())
