"""Makes the keepers: a small process, forked from the server before that imports anything. A fork of it costs a tenth
of a fork of the server. What it makes are the server's children."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from services.executor.kernels.forkserver import confinement, keeper, system
from services.executor.kernels.forkserver.cgroups import Group
from services.executor.kernels.forkserver.confinement import Limits, Plan, Spawn

MESSAGE_BYTES = 1 << 18
"""A request is smaller: the system sends no larger packet at once."""


class MakerGone(OSError):
    """The process that makes keepers has ended."""


class Maker:
    """The server's side of it."""

    def __init__(self, plan: Plan) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            _serve(plan, theirs)
        theirs.close()

    def make(self, spawn: Spawn, group: Group | None, channel: socket.socket) -> int:
        """A keeper's process id; it is process 1 of a new namespace and has `channel`. Raises OSError."""
        folders = {name: str(folder) for name, folder in group.folders.items()} if group is not None else {}
        request = {"spawn": asdict(spawn), "folders": folders, "version": group.version if group is not None else 0}
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [channel.fileno()])
            said = self._socket.recv(MESSAGE_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            said = b""
        if not said:
            raise MakerGone("the process that makes keepers has ended")
        answer: dict[str, Any] = json.loads(said)
        if "errno" in answer:
            raise OSError(answer["errno"], answer["reason"])
        pid: int = answer["pid"]
        return pid

    def close(self) -> None:
        """Let the process end."""
        self._socket.close()


def _serve(plan: Plan, server: socket.socket) -> NoReturn:
    """Make keepers until the server goes away."""
    try:
        signal.set_wakeup_fd(-1)
        confinement.die_with_parent()
        system.close_all_but(server.fileno())
        gc.freeze()
        while True:
            data, descriptors, _, _ = socket.recv_fds(server, MESSAGE_BYTES, 1)
            if not data:
                break
            channel = socket.socket(fileno=descriptors[0])
            server.send(json.dumps(_make(plan, json.loads(data), channel)).encode())
            channel.close()
    finally:
        os._exit(0)


def _make(plan: Plan, request: dict[str, Any], channel: socket.socket) -> dict[str, Any]:
    """The answer to a request."""
    try:
        pid = system.fork_sibling(system.CLONE_NEWPID)
    except OSError as error:
        return {"errno": error.errno, "reason": str(error)}
    if pid == 0:
        _keep(plan, request, channel)
    return {"pid": pid}


def _keep(plan: Plan, request: dict[str, Any], channel: socket.socket) -> NoReturn:
    asked = request["spawn"]
    links = [(path, port) for path, port in asked["links"]]
    spawn = Spawn(**{**asked, "limits": Limits(**asked["limits"]), "links": links})
    folders = {name: Path(folder) for name, folder in request["folders"].items()}
    group = Group(folders, request["version"]) if folders else None
    keeper.keep(plan, spawn, group, channel, set(), keeper.execute if spawn.argv else None)
