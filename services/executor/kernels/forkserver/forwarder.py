"""Links unix sockets in the run folder to ports of the kernel's own loopback interface: for kernels that know only TCP.

It stands in the kernel's namespaces, confined as the kernel is and with its user: what it passes on is the kernel's.
"""

from __future__ import annotations

import selectors
import socket
from dataclasses import dataclass, field
from typing import NoReturn

from services.executor.kernels.forkserver.confinement import Spawn

LOOPBACK = "127.0.0.1"

LOOK_AGAIN_S = 0.05
"""How often a port is tried on which nobody listens yet, in seconds."""

PIECE_BYTES = 262_144
"""How much is read at a time."""

MOST_WAITING_BYTES = 4_000_000
"""Beyond this nothing more is read from one side before the other side has taken some of it."""


@dataclass
class _End:
    """One side of a link: `waiting` is what it has yet to be sent, `last` that nothing comes after that."""

    socket: socket.socket
    waiting: bytearray = field(default_factory=bytearray)
    last: bool = False
    other: _End | None = None


def forward(spawn: Spawn, _bound: int) -> NoReturn:
    """Serve until the kernel ends, and with it this process."""
    selector = selectors.DefaultSelector()
    closed = list(spawn.links)
    while True:
        for path, port in list(closed):
            if _listens(port):
                # Only now: who connects here finds the kernel at the other end at once.
                selector.register(_listen(path), selectors.EVENT_READ, port)
                closed.remove((path, port))
        for key, events in selector.select(LOOK_AGAIN_S if closed else None):
            if isinstance(key.data, _End):
                _serve(selector, key.data, events)
            else:
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - registered so
                _link(selector, key.fileobj, key.data)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.setblocking(False)
    return listener


def _link(selector: selectors.BaseSelector, listener: socket.socket, port: int) -> None:
    try:
        outer, _ = listener.accept()
    except OSError:
        return  # whoever it was has gone
    inner = socket.socket()
    if inner.connect_ex((LOOPBACK, port)) != 0:
        outer.close()
        inner.close()
        return
    inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ends = _End(outer), _End(inner)
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        end.socket.setblocking(False)
        selector.register(end.socket, selectors.EVENT_READ, end)


def _serve(selector: selectors.BaseSelector, end: _End, events: int) -> None:
    """Move what has come and what may go; when one side is gone and the other has all, both go."""
    other = end.other
    assert other is not None  # noqa: S101 - linked
    if end.socket.fileno() < 0:
        return  # closed a moment ago, by the other end's turn
    try:
        if events & selectors.EVENT_READ:
            piece = end.socket.recv(PIECE_BYTES)
            other.waiting += piece
            other.last = other.last or not piece
            _send(other)
        if events & selectors.EVENT_WRITE:
            _send(end)
    except BlockingIOError:
        pass  # its turn comes again
    except OSError:
        end.last = other.last = True
        end.waiting.clear()
        other.waiting.clear()
    if any(each.last and not each.waiting for each in (end, other)):
        for each in (end, other):
            if each.socket in selector.get_map():
                selector.unregister(each.socket)
            each.socket.close()
        return
    for each in (end, other):
        _watch(selector, each)


def _send(end: _End) -> None:
    if end.waiting:
        try:
            del end.waiting[: end.socket.send(end.waiting)]
        except BlockingIOError:
            return


def _watch(selector: selectors.BaseSelector, end: _End) -> None:
    assert end.other is not None  # noqa: S101 - linked
    events = selectors.EVENT_WRITE if end.waiting else 0
    if not end.other.last and len(end.other.waiting) < MOST_WAITING_BYTES:
        events |= selectors.EVENT_READ
    if end.socket not in selector.get_map():
        if events:
            selector.register(end.socket, events, end)
    elif events:
        selector.modify(end.socket, events, end)
    else:
        selector.unregister(end.socket)
