"""The forwarder of kernels that know only TCP: nothing is lost, and an end on one side is an end on the other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.executor.kernels.forkserver import forwarder
from services.executor.kernels.forkserver.confinement import Limits, Spawn

AMOUNT = 3 * forwarder.MOST_WAITING_BYTES
"""More than the forwarder keeps, in bytes."""


@pytest.fixture
def port() -> Iterator[int]:
    """A server that gives everything back, and closes what says `end`."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def echo(client: socket.socket) -> None:
            with contextlib.suppress(OSError), client:
                while (piece := client.recv(65_536)) and piece != b"end":
                    client.sendall(piece)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def started() -> Iterator[list[int]]:
    """The forwarders of a test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def start(tmp_path: Path, started: list[int]) -> Callable[[int], Path]:
    def begin(port: int) -> Path:
        path = tmp_path / "s-1"
        spawn = Spawn(
            id=1, run_dir=str(tmp_path), connection_file="", environment={}, limits=Limits(), threads=1,
            links=[(str(path), port)],
        )  # fmt: skip
        pid = os.fork()
        if pid == 0:
            try:
                forwarder.forward(spawn, -1)
            except SystemExit as end:
                os._exit(int(end.code or 0))
            finally:
                os._exit(1)
        started.append(pid)
        return path

    return begin


def connect(path: Path) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        client = socket.socket(socket.AF_UNIX)
        if client.connect_ex(str(path)) == 0:
            client.settimeout(20)
            return client
        client.close()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_all_that_is_sent_comes_back_even_when_it_is_read_late(start: Callable[[int], Path], port: int) -> None:
    with connect(start(port)) as client:
        sent = os.urandom(AMOUNT)
        sending = threading.Thread(target=client.sendall, args=(sent,))
        sending.start()
        received = bytearray()
        while len(received) < AMOUNT:
            received += client.recv(1 << 20)
        sending.join()
        assert bytes(received) == sent


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_connections_are_apart_and_end_when_the_other_side_ends(start: Callable[[int], Path], port: int) -> None:
    path = start(port)
    with connect(path) as first, connect(path) as second:
        first.sendall(b"one")
        second.sendall(b"two")
        assert (first.recv(10), second.recv(10)) == (b"one", b"two")
        first.sendall(b"end")
        assert first.recv(10) == b""
        second.sendall(b"still here")
        assert second.recv(20) == b"still here"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_a_kernel_sent_before_its_end_arrives_and_then_the_forwarder_ends(
    start: Callable[[int], Path], started: list[int]
) -> None:
    words = os.urandom(forwarder.MOST_WAITING_BYTES // 2)
    with socket.socket() as kernel:
        kernel.bind(("127.0.0.1", 0))
        kernel.listen()
        with connect(start(kernel.getsockname()[1])) as client:
            client.sendall(b"x")
            kernel.settimeout(10)
            while True:
                accepted, _ = kernel.accept()
                accepted.settimeout(10)
                if accepted.recv(1):
                    break
                accepted.close()
            accepted.sendall(words)
            accepted.close()
            os.kill(started[0], signal.SIGTERM)
            received = bytearray()
            while piece := client.recv(1 << 20):
                received += piece
            assert bytes(received) == words
    ended, status = os.waitpid(started.pop(), 0)
    assert (bool(ended), os.waitstatus_to_exitcode(status)) == (True, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forwarder_without_connections_ends_at_once(
    start: Callable[[int], Path], started: list[int], port: int
) -> None:
    connect(start(port)).close()
    os.kill(started[0], signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(started.pop(), 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_there_is_no_socket_before_somebody_listens_on_the_port(start: Callable[[int], Path]) -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        path = start(late.getsockname()[1])
        with socket.socket(socket.AF_UNIX) as client:
            assert client.connect_ex(str(path)) != 0
        late.listen()
        with connect(path) as client:
            late.settimeout(10)
            probes = 0
            while True:  # the forwarder looked whether somebody listens, and closed that connection
                accepted, _ = late.accept()
                with accepted:
                    client.sendall(b"x")
                    accepted.settimeout(10)
                    if accepted.recv(1):
                        break
                probes += 1
            assert probes <= 1
