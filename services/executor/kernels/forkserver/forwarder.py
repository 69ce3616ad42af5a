"""Links unix sockets in the run folder to ports of the kernel's own loopback interface: for kernels that know only TCP.

It stands in the kernel's namespaces, confined as the kernel is and with its user: what it passes on is the kernel's.
"""

from __future__ import annotations

import selectors
import signal
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
    """Serve until the kernel ends, and with it this process. SIGTERM says that the kernel has ended: what it has sent
    is still passed on."""
    selector = selectors.DefaultSelector()
    closed = list(spawn.links)
    is_ending = False

    def end(*_: object) -> None:
        nonlocal is_ending
        is_ending = True
        if not _has_links(selector):
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
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
        if is_ending and not _has_links(selector):
            raise SystemExit(0)


def _has_links(selector: selectors.BaseSelector) -> bool:
    return any(isinstance(key.data, _End) for key in selector.get_map().values())


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
    if events & selectors.EVENT_READ:
        try:
            piece = end.socket.recv(PIECE_BYTES)
        except BlockingIOError:
            pass  # its turn comes again
        except OSError:  # it has ended; what it sent before still goes to the other side
            end.waiting.clear()
            other.last = True
        else:
            other.waiting += piece
            other.last = other.last or not piece
    for each in (end, other):
        _send(each)
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
            return  # its turn comes again
        except OSError:  # nobody takes it any more
            end.waiting.clear()
            end.last = True


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
