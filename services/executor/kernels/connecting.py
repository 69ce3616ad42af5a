"""How a client meets its kernel: the connection file, and the handshake after which no output can be lost."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import secrets
import shutil
import socket
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, cast

import zmq.asyncio
from jupyter_client.connect import KernelConnectionInfo

from services.executor.kernels.client import RunClient
from services.executor.kernels.commands import Transport
from services.executor.kernels.port import KernelExit, KernelStartError

SOCKETS_FOLDER = "k"
"""Of the run folder, for sockets; short, because a socket's path has at most 107 bytes."""

SHELL, IOPUB, STDIN, CONTROL, HEARTBEAT = 1, 2, 3, 4, 5
"""With transport ipc a port is a suffix of the socket's path."""

CHANNELS = {"shell": SHELL, "iopub": IOPUB, "stdin": STDIN, "control": CONTROL}
"""What the worker's clients use."""

FORWARDED_PORTS = (5001, 5002, 5003, 5004, 5005)
"""Where a kernel listens that has a loopback interface of its own: all ports are free there."""

LOOPBACK = "127.0.0.1"
"""Where kernels that know no unix sockets listen."""

LOOK_AGAIN_S = 0.005
"""How often a starting kernel's addresses are looked for, in seconds."""

WORDS_LENGTH = 200
"""Characters of an error that is told to a notebook's owner."""

ASK_AGAIN_S, ASK_AGAIN_MOST_S = 0.05, 1.0
"""How long an answer is waited for before it is asked for again, at first and at most, in seconds."""


class Connection:
    """Where one kernel listens, and its key. `forwarded`: it listens on ports of its own loopback interface, to which
    unix sockets in the run folder lead."""

    def __init__(self, run_dir: Path, transport: Transport = "ipc", *, forwarded: bool = False) -> None:
        self._transport: Transport = "ipc" if forwarded else transport
        self._forwarded = forwarded
        self._stem = run_dir / SOCKETS_FOLDER / "s"
        self._ports = free_ports() if self._transport == "tcp" else (SHELL, IOPUB, STDIN, CONTROL, HEARTBEAT)
        self.file = run_dir / SOCKETS_FOLDER / "kernel.json"
        self._key = secrets.token_hex(32)

    @classmethod
    def met(cls, run_dir: Path, key: str) -> Self:
        """Return the connection of a kernel with unix sockets that another process of the worker has met."""
        connection = cls(run_dir)
        connection._key = key
        return connection

    @property
    def key(self) -> str:
        """What signs the messages of kernel and client."""
        return self._key

    def write(self) -> None:
        """Write the connection file."""
        listened = self._fields("tcp", FORWARDED_PORTS) if self._forwarded else self._fields()
        content = {**listened, "key": self._key}
        self.file.write_text(json.dumps(content), encoding="utf-8")
        self.file.chmod(0o600)

    def _fields(self, transport: Transport | None = None, ports: tuple[int, ...] = ()) -> dict[str, Any]:
        transport = transport or self._transport
        shell, iopub, stdin, control, heartbeat = ports or self._ports
        return {
            "transport": transport,
            "ip": str(self._stem) if transport == "ipc" else LOOPBACK,
            "signature_scheme": "hmac-sha256",
            "shell_port": shell,
            "iopub_port": iopub,
            "stdin_port": stdin,
            "control_port": control,
            "hb_port": heartbeat,
        }

    @property
    def info(self) -> KernelConnectionInfo:
        """As jupyter_client wants it."""
        return cast("KernelConnectionInfo", {**self._fields(), "key": self._key.encode()})

    @property
    def sockets(self) -> list[Path]:
        """The unix sockets of the kernel, if it has such; a client needs the first two to be there."""
        if self._transport == "tcp":
            return []
        return [Path(f"{self._stem}-{number}") for number in self._ports]

    def socket_name(self, number: int) -> str:
        """A unix socket's name in its folder."""
        return f"{self._stem.name}-{number}"

    @property
    def links(self) -> list[tuple[str, int]]:
        """For the forwarder: unix sockets and the ports that they lead to."""
        return list(zip(map(str, self.sockets), FORWARDED_PORTS, strict=True)) if self._forwarded else []

    async def bound(self) -> None:
        """Wait until the kernel listens where a client connects to."""
        while not all(socket.exists() for socket in self.sockets[:2]):
            await asyncio.sleep(LOOK_AGAIN_S)
        if self._transport == "tcp":
            for port in self._ports[:2]:
                while not await asyncio.to_thread(_listens, port):
                    await asyncio.sleep(10 * LOOK_AGAIN_S)

    def forget(self) -> None:
        """Remove sockets and key from the folder. A kernel that has been met needs none of them any more."""
        for path in (*self.sockets, self.file):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder with what the kernel put there."""
        shutil.rmtree(self.file.parent, ignore_errors=True)

    def client(self, context: zmq.asyncio.Context | None) -> RunClient:
        """A client with these addresses, not connected yet."""
        client = RunClient(context=context)
        client.load_connection_info(self.info)
        return client


async def meet(handshake: Coroutine[Any, Any, None], exited: asyncio.Future[KernelExit], limit_s: float) -> None:
    """Wait for the end of a handshake. Raises KernelStartError when the kernel ends first, takes too long, or says what
    cannot be understood: a program of the notebook's owner may speak in its place."""
    ready = asyncio.create_task(handshake)
    watched: set[asyncio.Future[Any]] = {ready, exited}
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        raise KernelStartError(f"the kernel did not answer within {limit_s:.0f} seconds of its start") from None
    finally:
        if not ready.done():
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
    if exited.done():
        raise KernelStartError(f"the kernel ended while starting: {exited.result().reason}")
    if (fault := ready.exception()) is not None:
        words = f"{type(fault).__name__}: {fault}"[:WORDS_LENGTH]
        raise KernelStartError(f"what the kernel said at its start could not be understood ({words})") from fault


async def shake_hands(client: RunClient) -> None:
    """Connect to bound sockets: ready means that kernel_info is answered and that what the kernel publishes is heard.

    A kernel of protocol 5.4 publishes `iopub_welcome` to a new subscriber. Others may not have noticed the subscription
    yet when they publish: they are asked again until the `idle` of such a request has been heard.
    """
    client.start_channels(hb=False)
    asked, patience = [client.kernel_info()], ASK_AGAIN_S
    while not await _heard(client, asked, patience):
        asked.append(client.kernel_info())
        patience = min(2 * patience, ASK_AGAIN_MOST_S)
    while (await client.get_shell_msg(timeout=None))["parent_header"].get("msg_id") != asked[-1]:
        pass


async def _heard(client: RunClient, asked: list[str], patience: float) -> bool:
    """Whether something tells, within `patience` seconds, that the kernel's publications arrive."""
    deadline = asyncio.get_running_loop().time() + patience
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            message = await client.get_iopub_msg(timeout=left)
        except queue.Empty:
            return False
        if message["msg_type"] == "iopub_welcome":
            return True
        if message["parent_header"].get("msg_id") in asked and message["content"].get("execution_state") == "idle":
            return True
    return False


def free_ports(count: int = 5) -> tuple[int, ...]:
    """TCP ports of the loopback interface that nobody listens on now."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind((LOOPBACK, 0))
        return tuple(one.getsockname()[1] for one in taken)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def environment_for(run_dir: Path, python: Path) -> dict[str, str]:
    """The whole environment of a kernel: nothing of the worker's own reaches it."""
    return {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": os.environ.get("TZ", "UTC"),
        "USER": "kernel",
        "SHELL": "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh",  # people write `!` lines for bash
        "HOME": str(run_dir / "home"),
        "TMPDIR": str(run_dir / "tmp"),
        "MPLCONFIGDIR": str(run_dir / "home" / "matplotlib"),
        "IPYTHONDIR": str(run_dir / "home" / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(run_dir / "tmp"),
        "ATELIER_RUN_DIR": str(run_dir),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # There is no network: installers say at once what is not there, instead of trying again for a minute.
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_OFFLINE": "1",
    }
