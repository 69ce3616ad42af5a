"""Files in folders where programs of packages may have run: a link there is not followed, whatever bears the name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from services.executor.environments.rules import EnvironmentBuildError

MOST_BYTES = 16_000_000
"""The most that is read of a file, in bytes; a lock of a thousand packages has about two million."""


UNWANTED = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | stat.S_IWGRP | stat.S_IWOTH
"""Mode bits that nothing in an environment has."""


def real_folder(path: Path, below: Path) -> Path:
    """`path`, when it is a folder that lies below `below` without a link on the way. Raises EnvironmentBuildError."""
    step = below
    for part in path.relative_to(below).parts:
        step /= part
        if step.is_symlink() or not step.is_dir():
            raise EnvironmentBuildError(f"a package has put something else in the place of {path.relative_to(below)}")
    return path


def take_over(folder: Path) -> None:
    """Make everything in `folder` the worker's, writable for nobody else, and without setuid, setgid and sticky bits: a
    program of a package cannot leave one there that gives its caller another user. Raises OSError."""
    uid, gid = os.getuid(), os.getgid()
    for root, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            path = os.path.join(root, name)  # noqa: PTH118 - hot loop
            found = os.lstat(path)
            if (found.st_uid, found.st_gid) != (uid, gid):
                os.chown(path, uid, gid, follow_symlinks=False)
            if not stat.S_ISLNK(found.st_mode) and found.st_mode & UNWANTED:
                os.chmod(path, stat.S_IMODE(found.st_mode) & ~UNWANTED)  # noqa: PTH101 - as above


def read(path: Path) -> str:
    """The text of a plain file. Raises EnvironmentBuildError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EnvironmentBuildError(f"{path.name} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MOST_BYTES).decode(errors="replace")


def write(path: Path, content: bytes) -> None:
    """Write a new file in the place of whatever bears its name. Raises OSError."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
