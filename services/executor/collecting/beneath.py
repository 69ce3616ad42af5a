"""Opens files of a folder that somebody hostile owns: never through a link, never outside of it (openat2(2))."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from services.executor.kernels.forkserver import system

OPENAT2 = 437
"""The system call's number, the same on every architecture; Linux 5.6 and newer."""

NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x01, 0x02, 0x04, 0x08
RESOLVE = NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH

MISSING = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL})
"""What an older kernel, or a container's filter, answers."""


class Refused(ValueError):
    """The file is none that may be handed on; the message says why."""


@dataclass(frozen=True, kw_only=True)
class OpenFile:
    """A regular file by its descriptor: whatever is put in its place meanwhile, this is what was checked."""

    descriptor: int
    status: os.stat_result

    @property
    def path(self) -> Path:
        """A path by which this process, and no other, opens just this file."""
        return Path(f"/proc/self/fd/{self.descriptor}")

    def has_changed(self) -> bool:
        """Whether somebody has written to it since it was opened; the time of change cannot be forged."""
        now = os.fstat(self.descriptor)
        return (now.st_size, now.st_ctime_ns) != (self.status.st_size, self.status.st_ctime_ns)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


class Folder:
    """One folder, held open from before anybody hostile could exchange it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._owners = {os.fstat(self._descriptor).st_uid, os.getuid()}

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def path(self) -> Path:
        """A path by which this process, and no other, finds just this folder."""
        return Path(f"/proc/self/fd/{self._descriptor}")

    def open_folder(self, name: str) -> int:
        """A descriptor of a folder in it; raises OSError."""
        return self._open(name, os.O_RDONLY | os.O_DIRECTORY)

    def open_file(self, name: str) -> OpenFile:
        """A regular file with one name, of the folder's owner. Raises Refused or OSError."""
        if not name or "\0" in name:
            raise Refused("it names no file")
        # Without waiting: a pipe in its place would have nobody at its other end.
        descriptor = self._open(name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("its file is no regular file")
            if status.st_nlink != 1 or status.st_uid not in self._owners:
                raise Refused("its file is no file of its own")
        except BaseException:
            os.close(descriptor)
            raise
        return OpenFile(descriptor=descriptor, status=status)

    def _open(self, name: str, flags: int) -> int:
        how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, RESOLVE)
        try:
            return system.syscall(
                OPENAT2, self._descriptor, ctypes.c_char_p(os.fsencode(name)), ctypes.c_char_p(how), len(how), what=""
            )
        except OSError as error:
            if error.errno in MISSING:
                return self._walk(name, flags)
            if error.errno in (errno.ELOOP, errno.EXDEV):
                raise Refused("its file lies outside the outputs folder, or is reached by a link") from None
            raise OSError(error.errno, os.strerror(error.errno or 0)) from None

    def _walk(self, name: str, flags: int) -> int:
        """The same where openat2 is missing: name by name, no link followed."""
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise Refused("its file lies outside the outputs folder")
        above = self._descriptor
        try:
            for part in parts[:-1]:
                inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
                if above != self._descriptor:
                    os.close(above)
                above = inner
            return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise Refused("its file is reached by a link") from None
            raise
        finally:
            if above != self._descriptor:
                os.close(above)
