"""One client's connection to a fork server: requests go out, and each notice goes to the kernel that it is about."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

import structlog

from services.executor.kernels.forkserver.wire import Decoder, encode

log = structlog.get_logger(__name__)

READ_BYTES = 65_536

KERNELS_PER_CLIENT = 1_000_000_000
"""Numbers of kernels that each client has for itself: a kernel keeps its number when it is given to another client."""

Notice = Callable[[dict[str, Any]], None]


class ForkChannel:
    """The connection of client `number` (see `forkserver.clients`). `ended` is set when the server has gone, and with
    it every kernel."""

    def __init__(self, number: int) -> None:
        self.ended: asyncio.Event = asyncio.Event()
        self._identities = itertools.count(number * KERNELS_PER_CLIENT + 1)
        self._notices: dict[int, Notice] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._hearing: asyncio.Task[None] | None = None

    async def connect(self, connection: socket.socket) -> None:
        """Begin to listen."""
        reader, self._writer = await asyncio.open_unix_connection(sock=connection)
        self._hearing = asyncio.create_task(self._hear(reader))

    def next_identity(self) -> int:
        """Return a number for a new kernel."""
        return next(self._identities)

    def send(self, message: dict[str, Any]) -> None:
        """Send a request; one to a server that has ended is dropped, its kernels have been told."""
        if self._writer is not None and not self.ended.is_set():
            self._writer.write(encode(message))

    def expect(self, identity: int, notice: Notice) -> None:
        """Have notices about a kernel handed to `notice`."""
        self._notices[identity] = notice

    def forget(self, identity: int) -> None:
        """Hand on no more notices about a kernel."""
        self._notices.pop(identity, None)

    def hang_up(self) -> None:
        """Close the connection; the kernels of this client end."""
        if self._writer is not None:
            self._writer.close()

    async def close(self) -> None:
        """Hang up and stop listening."""
        self.hang_up()
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
        self._end()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        try:
            while data := await reader.read(READ_BYTES):
                for message in decoder.feed(data):
                    self._hand_on(message)
        except OSError as error:
            log.info("fork server's socket closed", reason=error.strerror)
        except ValueError as error:
            log.error("fork server out of step", reason=str(error))
        finally:
            self._end()

    def _hand_on(self, message: dict[str, Any]) -> None:
        notice = self._notices.get(message["id"])
        if notice is not None:
            notice(message)

    def _end(self) -> None:
        """Every kernel has ended with its server."""
        self.ended.set()
        for identity, notice in list(self._notices.items()):
            notice({"event": "exited", "id": identity, "status": -9, "cause": "server"})
            notice({"event": "gone", "id": identity})
        self._notices.clear()
        self.hang_up()
