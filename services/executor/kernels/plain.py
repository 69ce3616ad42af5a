"""Kernels started when they are asked for: the interpreter starts, imports and answers, about half a second.

The fork server takes this place for base-environment Python kernels (DESIGN.md decision 7); this stays as the fallback.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import structlog
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec

from services.executor.kernels import processes
from services.executor.kernels.port import Kernel, KernelExit, KernelRequest, KernelStartError, Usage
from services.executor.kernels.provisioner import ChildProcessProvisioner

log = structlog.get_logger(__name__)

PYTHON_ARGUMENTS = (
    "-m",
    "ipykernel_launcher",
    "-f",
    "{connection_file}",
    "--HistoryManager.enabled=False",
    "--IPKernelApp.no_stdout=False",
)
"""How an environment's interpreter becomes a kernel; history stays off, nothing outlives a run."""

KILL_WAIT_S = 2.0
"""How long a killed process may take to be reaped, in seconds."""


class PlainKernel:
    """See `port.Kernel`."""

    def __init__(self, provisioner: ChildProcessProvisioner, client: AsyncKernelClient, sockets: list[Path]) -> None:
        self.client = client
        self.exited: asyncio.Future[KernelExit] = asyncio.get_running_loop().create_future()
        self._provisioner = provisioner
        self._sockets = sockets
        self._usage: Usage | None = None
        assert provisioner.exited is not None  # noqa: S101 - made by the launch
        provisioner.exited.add_done_callback(self._on_exit)

    def _on_exit(self, code: asyncio.Future[int]) -> None:
        if not self.exited.done() and not code.cancelled():
            self.exited.set_result(KernelExit(code=code.result()))

    async def interrupt(self) -> None:
        """See Kernel."""
        await self._provisioner.send_signal(signal.SIGINT)

    async def kill(self) -> None:
        """See Kernel."""
        self.usage()
        await self._provisioner.kill()

    def usage(self) -> Usage | None:
        """See Kernel. Measured from /proc over the kernel's session."""
        process = self._provisioner.process
        if process is not None and process.returncode is None:
            self._usage = processes.usage_of_session(process.pid) or self._usage
        return self._usage

    async def close(self) -> None:
        """See Kernel."""
        await self.kill()
        try:
            async with asyncio.timeout(KILL_WAIT_S):
                await self._provisioner.cleanup()
        except TimeoutError:
            log.error("kernel process not reaped in time")
        process = self._provisioner.process
        if process is not None:
            processes.kill_session(process.pid)
        self.client.stop_channels()
        for socket in self._sockets:
            socket.unlink(missing_ok=True)


class PlainKernels:
    """A KernelSource that starts a kernel for each request. `commands` maps kernel types to their argv."""

    def __init__(self, commands: Mapping[str, list[str]], *, start_timeout_s: float) -> None:
        self._commands = commands
        self._start_timeout_s = start_timeout_s
        self._context: zmq.asyncio.Context | None = None

    async def open(self) -> None:
        """See KernelSource."""
        self._context = zmq.asyncio.Context()
        # Without it ZeroMQ drops outputs silently when a cell prints faster than we read.
        self._context.setsockopt(zmq.RCVHWM, 0)

    async def close(self) -> None:
        """See KernelSource."""
        if self._context is not None:
            self._context.destroy(linger=0)

    async def acquire(self, request: KernelRequest) -> Kernel:
        """See KernelSource."""
        command = self._commands.get(request.kernel_type)
        if command is None:
            available = ", ".join(sorted(self._commands))
            raise KernelStartError(
                f"this worker has no {request.kernel_type} kernel; it has: {available}. Ask the operator to add it."
            )
        if request.python is not None:
            command = [str(request.python), *PYTHON_ARGUMENTS]
        stem = request.run_dir / "k"
        connection: dict[str, Any] = {
            "transport": "ipc",
            "ip": str(stem),
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
            "shell_port": 1,
            "iopub_port": 2,
            "stdin_port": 3,
            "control_port": 4,
            "hb_port": 5,
        }
        connection_file = request.run_dir / "kernel.json"
        connection_file.write_text(json.dumps(connection), encoding="utf-8")
        connection_file.chmod(0o600)
        spec = KernelSpec(argv=command, display_name=request.kernel_type)
        provisioner = ChildProcessProvisioner(kernel_id=request.run_dir.name, kernel_spec=spec)
        provisioner.connection_info = cast("KernelConnectionInfo", {**connection, "key": connection["key"].encode()})
        argv = [part.format(connection_file=connection_file) for part in command]
        await provisioner.launch_kernel(argv, env=request.environment, cwd=request.run_dir / "work")
        client = AsyncKernelClient(context=self._context)
        client.load_connection_info(provisioner.connection_info)
        sockets = [Path(f"{stem}-{number}") for number in range(1, 6)]
        kernel = PlainKernel(provisioner, client, [*sockets, connection_file])
        try:
            await self._wait_ready(kernel, sockets[:2])
        except KernelStartError as error:
            await kernel.close()
            tail = " ".join(list(provisioner.stderr_tail)[-3:])
            raise KernelStartError(f"{error}. {tail}".strip()) from None
        except BaseException:
            await kernel.close()
            raise
        return kernel

    async def _wait_ready(self, kernel: PlainKernel, sockets: list[Path]) -> None:
        """Ready means: sockets bound, `iopub_welcome` received (no output can be lost now), kernel_info answered."""
        ready = asyncio.create_task(_handshake(kernel.client, sockets))
        watched: set[asyncio.Future[Any]] = {ready, kernel.exited}
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise KernelStartError(
                f"the kernel did not answer within {self._start_timeout_s:.0f} seconds of its start"
            ) from None
        finally:
            if not ready.done():
                ready.cancel()
                await asyncio.gather(ready, return_exceptions=True)
        if kernel.exited.done():
            raise KernelStartError(f"the kernel ended while starting: {kernel.exited.result().reason}")
        ready.result()


async def _handshake(client: AsyncKernelClient, sockets: list[Path]) -> None:
    while not all(socket.exists() for socket in sockets):
        await asyncio.sleep(0.005)
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
        "HOME": str(run_dir / "home"),
        "TMPDIR": str(run_dir / "tmp"),
        "MPLCONFIGDIR": str(run_dir / "home" / "matplotlib"),
        "IPYTHONDIR": str(run_dir / "home" / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(run_dir / "tmp"),
        "ATELIER_RUN_DIR": str(run_dir),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
