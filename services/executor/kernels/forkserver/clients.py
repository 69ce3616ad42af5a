"""The processes that ask a fork server for kernels: the worker's supervisor, and each of its slots.

The supervisor has the socket that the server was started with. Every other client comes through the server's door, a
socket over which the supervisor hands in a new client's end of a connection.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from services.executor.kernels.forkserver.wire import Decoder, encode

READ_BYTES = 65_536

DOOR_BYTES = 256
"""More than a message at the door has, in bytes."""


class Client:
    """One end of a connection. `number` is 0 for the supervisor."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.connection = connection
        self._decoder = Decoder()

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self.connection.fileno()

    def read(self) -> list[dict[str, Any]] | None:
        """Return the messages that are complete; None when the client has gone."""
        try:
            data = self.connection.recv(READ_BYTES)
        except OSError:
            return None
        return self._decoder.feed(data) if data else None

    def tell(self, message: dict[str, Any]) -> None:
        """Send a notice. One that a client does not take is dropped, and with it the connection: a client that stands
        still must not hold up the server."""
        flags = socket.MSG_DONTWAIT if self.number else 0
        data = encode(message)
        try:
            if self.connection.send(data, flags) < len(data):
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It has gone: the next read finds that, too.
            return


def let_in(door: socket.socket) -> Client | None:
    """Return the client that has come through the door; None when the door was closed."""
    try:
        message, descriptors, *_ = socket.recv_fds(door, DOOR_BYTES, 1)
    except OSError:
        return None
    if not message or not descriptors:
        return None
    return Client(json.loads(message)["client"], socket.socket(fileno=descriptors[0]))


def send_in(door: socket.socket, number: int, theirs: socket.socket) -> None:
    """Hand in a new client's end of a connection; the supervisor's side of `let_in`. Raises OSError."""
    socket.send_fds(door, [json.dumps({"client": number}).encode()], [theirs.fileno()])
