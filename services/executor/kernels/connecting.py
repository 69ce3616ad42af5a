"""How a client meets its kernel: the connection file, and the handshake after which no output can be lost."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, cast

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo

SOCKETS_FOLDER = "k"
"""Of the run folder, for sockets; short, because a socket's path has at most 107 bytes."""

SHELL, IOPUB, STDIN, CONTROL, HEARTBEAT = 1, 2, 3, 4, 5
"""With transport ipc a port is a suffix of the socket's path."""


class Connection:
    """Where one kernel listens, and its key."""

    def __init__(self, run_dir: Path) -> None:
        self._stem = run_dir / SOCKETS_FOLDER / "s"
        self.file = run_dir / SOCKETS_FOLDER / "kernel.json"
        self._key = secrets.token_hex(32)

    def write(self) -> None:
        """Write the connection file."""
        content = {**self._fields(), "key": self._key}
        self.file.write_text(json.dumps(content), encoding="utf-8")
        self.file.chmod(0o600)

    def _fields(self) -> dict[str, Any]:
        return {
            "transport": "ipc",
            "ip": str(self._stem),
            "signature_scheme": "hmac-sha256",
            "shell_port": SHELL,
            "iopub_port": IOPUB,
            "stdin_port": STDIN,
            "control_port": CONTROL,
            "hb_port": HEARTBEAT,
        }

    @property
    def info(self) -> KernelConnectionInfo:
        """As jupyter_client wants it."""
        return cast("KernelConnectionInfo", {**self._fields(), "key": self._key.encode()})

    @property
    def sockets(self) -> list[Path]:
        """The sockets of the kernel; a client needs the first two to be there."""
        return [Path(f"{self._stem}-{number}") for number in (SHELL, IOPUB, STDIN, CONTROL, HEARTBEAT)]

    def forget(self) -> None:
        """Remove sockets and key from the folder. A kernel that has been met needs none of them any more."""
        for path in (*self.sockets, self.file):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder with what the kernel put there."""
        shutil.rmtree(self.file.parent, ignore_errors=True)

    def client(self, context: zmq.asyncio.Context | None) -> AsyncKernelClient:
        """A client with these addresses, not connected yet."""
        client = AsyncKernelClient(context=context)
        client.load_connection_info(self.info)
        return client


NEVER_MS = 86_400_000
"""Later than the end of any run: a day, in milliseconds."""


def new_context(*, reconnecting: bool) -> zmq.asyncio.Context:
    """The ZeroMQ context of a worker's clients. Without `reconnecting` sockets must be listening when connected to."""
    context = zmq.asyncio.Context()
    # Without it ZeroMQ drops outputs silently when a cell prints faster than we read.
    context.setsockopt(zmq.RCVHWM, 0)
    if not reconnecting:
        # A kernel that closed its sockets could put a link to somebody else's socket in their place. Not -1: then a
        # lost connection drops what has come, and ZeroMQ ends this process when half of a message had been read.
        context.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
    return context


async def shake_hands(client: AsyncKernelClient) -> None:
    """Connect to bound sockets: ready means `iopub_welcome` received and kernel_info answered."""
    client.start_channels(stdin=False, hb=False)
    while (await client.get_iopub_msg(timeout=None))["msg_type"] != "iopub_welcome":
        pass
    request = client.kernel_info()
    while (await client.get_shell_msg(timeout=None))["parent_header"].get("msg_id") != request:
        pass


def environment_for(run_dir: Path, python: Path) -> dict[str, str]:
    """The whole environment of a kernel: nothing of the worker's own reaches it."""
    return {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": os.environ.get("TZ", "UTC"),
        "USER": "kernel",
        "HOME": str(run_dir / "home"),
        "TMPDIR": str(run_dir / "tmp"),
        "MPLCONFIGDIR": str(run_dir / "home" / "matplotlib"),
        "IPYTHONDIR": str(run_dir / "home" / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(run_dir / "tmp"),
        "ATELIER_RUN_DIR": str(run_dir),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
