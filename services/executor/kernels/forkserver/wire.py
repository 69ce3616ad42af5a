"""Messages between worker and fork server: a length of four bytes, then JSON. A socket's end ends every kernel.

Worker to server: `{"op":"configure",...}` once, then `{"op":"spawn","id",...}`, `{"op":"signal","id","signal"}`,
`{"op":"kill","id"}`, `{"op":"adopt","id"}` (the kernel is this client's from now on), `{"op":"retire"}` (end with the
last kernel). Server to worker: `{"event":"ready","layers",...}` once, then for each id `spawned` (pid; group: where its
use can be read), `bound` (its sockets can be connected to), `exited` (status, cause, use) or `failed` (reason), `gone`
(nothing of it is left); `clientGone` (client) when nothing is left of the kernels of a client that has ended. A worker
has several clients (see `clients`).
"""

from __future__ import annotations

import json
import struct
from typing import Any

HEADER = struct.Struct("!I")

MAX_MESSAGE = 1 << 20
"""A message is far smaller; more means that the two sides are out of step, in bytes."""


def encode(message: dict[str, Any]) -> bytes:
    """A message as it goes over the socket."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


class Decoder:
    """Cuts what has arrived into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take bytes, give the messages that are complete. Raises ValueError when out of step."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer)
            if length > MAX_MESSAGE:
                raise ValueError(f"a message of {length} bytes")
            if len(self._buffer) < HEADER.size + length:
                break
            messages.append(json.loads(self._buffer[HEADER.size : HEADER.size + length]))
            del self._buffer[: HEADER.size + length]
        return messages
