"""The fork server's beginning: alone with one socket, in a user namespace where that is the only way to privileges."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import Any, NoReturn

from services.executor.kernels.forkserver import confinement, survey, system
from services.executor.kernels.forkserver.server import Server
from services.executor.kernels.forkserver.wire import Decoder


def _attend(pid: int, *descriptors: int) -> NoReturn:
    """The process that made the user namespace only waits for the server in it."""
    for descriptor in descriptors:
        os.close(descriptor)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)


def main() -> None:
    """Run by the worker, with the numbers of two sockets as arguments: its own, and the door (see `clients`)."""
    descriptor, door = int(sys.argv[1]), int(sys.argv[2])
    confinement.die_with_parent()
    os.setsid()
    system.close_all_but(descriptor, door)
    worker = socket.socket(fileno=descriptor)
    decoder = Decoder()
    messages: list[dict[str, Any]] = []
    while not messages:
        data = worker.recv(65_536)
        if not data:
            return
        messages = decoder.feed(data)
    configuration = messages[0]
    if not system.is_privileged() and confinement.user_namespace_is_of_use():
        confinement.enter_user_namespace()
        pid = os.fork()
        if pid:
            _attend(pid, descriptor, door)
        confinement.die_with_parent()
        system.mount(None, "/", None, system.MS_REC | system.MS_PRIVATE)
        with contextlib.suppress(OSError):  # then the probes find that there is no private /proc
            system.mount("proc", "/proc", "proc", system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC)
        configuration["inUserNamespace"] = True
    system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)
    forker, ready = survey.prepare(configuration)
    server = Server(worker, socket.socket(fileno=door), forker)
    try:
        server.serve(ready)
    finally:
        server.close()
