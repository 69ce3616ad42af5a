"""The template of child processes and what a child does: `python -m shared.child_template <descriptor> <module>…`.

Started and spoken to by `shared/child_pool.py`. For each order it forks a child with the channel that came with it, and
tells the child's process descriptor and, later, its status. It has one thread, and no credential.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import orjson

from shared import apart, replies
from shared.errors import AtelierError

MESSAGE_BYTES = 4096
"""Bytes of an order and of what the template tells, at most."""

ANSWER, ERROR, FAILURE, NEWS = b"a", b"e", b"f", b"n"
"""First byte of what a child sends: an answer, an error of the family, an error that nobody expected, news."""

OPEN_FILES = 64
"""Descriptors that a child may have."""

_FIRST_TO_GO = "1000"
"""What the kernel ends when memory is short: a child, before any service."""

_HIGHEST_DESCRIPTOR = 1 << 20
"""Above every descriptor that the template has."""

_DEPTH = 3_000
"""Levels of Python calls in a child; its stack takes them."""


_raised: list[Exception] = []
"""What was raised is kept until the process ends: what its frames hold, such as a reader of a file that does not come,
may wait before it goes, and the answer would wait with it."""


def main() -> None:
    """Serve until the control socket is closed."""
    descriptor, *modules = sys.argv[1:]
    apart.end_with_parent()
    control = socket.socket(fileno=int(descriptor))
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    control.send(orjson.dumps({"ready": True}))
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    _serve(control, selector)
                else:
                    _tell_end(control, selector, key)


def _serve(control: socket.socket, selector: selectors.DefaultSelector) -> None:
    message, descriptors, *_ = socket.recv_fds(control, MESSAGE_BYTES, 1)
    if not message:
        os._exit(0)
    order = orjson.loads(message)
    channel = descriptors[0]
    pid = os.fork()
    if pid == 0:
        _live(order, channel)
    os.close(channel)
    pidfd = os.pidfd_open(pid)
    selector.register(pidfd, selectors.EVENT_READ, (order["number"], pid))
    socket.send_fds(control, [orjson.dumps({"number": order["number"]})], [pidfd])


def _tell_end(control: socket.socket, selector: selectors.DefaultSelector, key: selectors.SelectorKey) -> None:
    number, pid = key.data
    _, status = os.waitpid(pid, 0)
    selector.unregister(key.fileobj)
    os.close(key.fd)
    control.send(orjson.dumps({"number": number, "status": os.waitstatus_to_exitcode(status)}))


def _live(order: dict[str, Any], channel: int) -> NoReturn:
    """The child: confine itself, read the argument, answer, end."""
    try:
        limits = order["limits"]
        apart.end_with_parent()
        with contextlib.suppress(OSError):  # where /proc is read-only, the limits have to do
            Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
        os.dup2(channel, 3)
        os.closerange(4, _HIGHEST_DESCRIPTOR)
        os.nice(limits["niceness"])
        apart.limit(memory_bytes=limits["memory_bytes"], processor_s=limits["processor_s"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        sys.setrecursionlimit(_DEPTH)
        with socket.socket(fileno=3) as stream, stream.makefile("rb") as reader:
            given: list[Any] = [reader.read(int.from_bytes(reader.read(8)))]
            if order["talks"]:
                given.append(Caller(stream, reader))
            stream.sendall(_answer(order["function"], given))
    except MemoryError:
        os._exit(apart.OUT_OF_MEMORY)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


class Caller:
    """Who called a child, while it works: what he says meanwhile, and a way to tell him news."""

    def __init__(self, stream: socket.socket, reader: BinaryIO) -> None:
        self._stream, self._reader = stream, reader

    def tell(self, news: bytes) -> None:
        """Send news; one thread at a time."""
        self._stream.sendall(framed(NEWS, news))

    def said(self) -> Iterator[bytes]:
        """Iterate over the lines that he says. Blocks."""
        yield from self._reader


def framed(kind: bytes, said: bytes) -> bytes:
    """Return what is sent for `said`."""
    return kind + len(said).to_bytes(8) + said


def _answer(name: str, given: Sequence[Any]) -> bytes:
    module, _, function = name.partition(":")
    try:
        said: bytes = getattr(importlib.import_module(module), function)(*given)
        kind = ANSWER
    except AtelierError as error:
        _raised.append(error)
        kind, said = ERROR, replies.Reply.of_error(error).encode()
    except MemoryError:
        raise
    except Exception as error:
        _raised.append(error)
        traceback.print_exc()
        kind, said = FAILURE, f"{type(error).__name__}: {error}"[:MESSAGE_BYTES].encode("utf-8", "replace")
    return framed(kind, said)


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal's ^C reaches the whole group; the service ends this process
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
    main()
