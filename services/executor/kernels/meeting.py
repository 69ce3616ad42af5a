"""How a client meets a kernel that is not trusted: through descriptors of its sockets, whatever their names become.

A kernel that is started by its command line may run a notebook owner's program before its sockets are there (a line of
a `.pth` file does). Its folder is its own: under a socket's name it may put a link to a socket of the broker, of the
database or of another run. So the worker opens what bears the name without following a link, looks whether it is a
socket, and connects to that very inode (unix(7), proc(5)).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import zmq.asyncio

from services.executor.kernels.client import RunClient
from services.executor.kernels.connecting import CHANNELS, Connection

LOOK_AGAIN_S = 0.01
"""How often the sockets of a starting kernel are looked for, in seconds."""

STDERR_BYTES = 2000
"""How much of a kernel's own stderr explains a failed start."""


class SocketHold:
    """The sockets of one kernel, held open as inodes until `close`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._descriptors: dict[str, int] = {}

    @classmethod
    def of(cls, connection: Connection, descriptors: Sequence[int]) -> Self:
        """Return the hold of sockets that another process of the worker has found: those of `CHANNELS`, in order."""
        hold = cls(connection)
        hold._descriptors = dict(zip(CHANNELS, descriptors, strict=True))
        return hold

    @property
    def descriptors(self) -> list[int]:
        """The sockets, in the order of `CHANNELS`."""
        return [self._descriptors[channel] for channel in CHANNELS]

    async def become_whole(self) -> None:
        """Wait until the kernel listens on all that a client uses."""
        folder = os.open(self._connection.file.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while not all(self._take(folder, channel, number) for channel, number in CHANNELS.items()):
                await asyncio.sleep(LOOK_AGAIN_S)
        finally:
            os.close(folder)

    def _take(self, folder: int, channel: str, number: int) -> bool:
        """Whether a channel's socket is there and listened on; then it is held."""
        if channel in self._descriptors:
            return True
        name = self._connection.socket_name(number)
        try:
            descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            return False
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode) and _is_listening(descriptor):
            self._descriptors[channel] = descriptor
            return True
        os.close(descriptor)
        return False

    def client(self, context: zmq.asyncio.Context | None) -> RunClient:
        """A client that connects to these sockets and to none else; `context` must not reconnect."""
        client = _HoldingClient(context=context)
        client.load_connection_info(self._connection.info)
        client.hold = self
        return client

    def address(self, channel: str) -> str:
        """Of the socket itself, not of what is there under its name now."""
        return f"ipc://{_path_of(self._descriptors[channel])}"

    def close(self) -> None:
        """Let go. ZeroMQ connects some time after it is told to, so not before the kernel's end."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


class _HoldingClient(RunClient):
    hold: SocketHold | None = None

    def _make_url(self, channel: str) -> str:
        """Called by the base class where it connects a channel."""
        assert self.hold is not None  # noqa: S101 - set where it is made
        return self.hold.address(channel)


def _path_of(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _is_listening(descriptor: int) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(_path_of(descriptor)) in {0, errno.EAGAIN}


def last_words(run_dir: Path, folder: str) -> str:
    """The end of what a kernel wrote to its stderr. It may have put anything in the file's place."""
    with suppress(OSError):
        descriptor = os.open(run_dir / folder / "stderr", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            kind = os.fstat(descriptor)
            if stat.S_ISREG(kind.st_mode):
                file.seek(max(0, kind.st_size - STDERR_BYTES))
                return file.read(STDERR_BYTES).decode(errors="replace").strip()
    return ""
