"""Files in folders where programs of packages may have run: a link there is not followed, whatever bears the name."""

from __future__ import annotations

import os
from pathlib import Path

from services.executor.environments.rules import EnvironmentBuildError

MOST_BYTES = 16_000_000
"""The most that is read of a file, in bytes; a lock of a thousand packages has about two million."""


def real_folder(path: Path, below: Path) -> Path:
    """`path`, when it is a folder that lies below `below` without a link on the way. Raises EnvironmentBuildError."""
    step = below
    for part in path.relative_to(below).parts:
        step /= part
        if step.is_symlink() or not step.is_dir():
            raise EnvironmentBuildError(f"a package has put something else in the place of {path.relative_to(below)}")
    return path


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
