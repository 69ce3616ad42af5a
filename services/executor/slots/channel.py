"""Messages between a worker's processes: JSON over a SEQPACKET socket, each with descriptors where it needs them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import structlog

log = structlog.get_logger(__name__)

MESSAGE_BYTES = 128 * 1024
"""A message is no larger, in bytes: less than what a socket takes at once (Linux: 208 KiB)."""

MOST_DESCRIPTORS = 8

MOST_WAITING = 1_000
"""Messages that may wait for the other side to read. More mean that it stands still: the connection is closed."""

Message = dict[str, Any]
OnMessage = Callable[[Message, list[int]], None]
"""Is handed a message and its descriptors, which it must close."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end. `on_message` is called in the event loop; `closed` is set when the other side has gone."""

    def __init__(self, connection: socket.socket, on_message: OnMessage) -> None:
        connection.setblocking(False)
        self.closed = asyncio.Event()
        self._connection = connection
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._loop.add_reader(connection.fileno(), self._read)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, with copies of the `descriptors`. One to a side that has gone is dropped."""
        if self.closed.is_set():
            return
        body = orjson.dumps(message)
        if len(body) > MESSAGE_BYTES:
            raise ValueError(f"a message of {len(body)} bytes")
        self._waiting.append((body, [os.dup(one) for one in descriptors]))
        if len(self._waiting) == 1:
            self._write()
        elif len(self._waiting) > MOST_WAITING:
            log.error("the other side of a channel does not read")
            self.close()

    def close(self) -> None:
        """Hang up. Safe to call twice."""
        if self.closed.is_set():
            return
        self.closed.set()
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()
        while self._waiting:
            _close(self._waiting.popleft()[1])

    def _write(self) -> None:
        while self._waiting:
            body, descriptors = self._waiting[0]
            try:
                socket.send_fds(self._connection, [body], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._connection.fileno(), self._write)
                return
            except OSError:
                self.close()
                return
            _close(descriptors)
            self._waiting.popleft()
        self._loop.remove_writer(self._connection.fileno())

    def _read(self) -> None:
        try:
            body, descriptors, *_ = socket.recv_fds(self._connection, MESSAGE_BYTES, MOST_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            body, descriptors = b"", []
        if not body:
            self.close()
            return
        self._on_message(orjson.loads(body), descriptors)


def _close(descriptors: Sequence[int]) -> None:
    for one in descriptors:
        os.close(one)
