"""Kernels started when they are asked for: the interpreter starts, imports and answers, about half a second.

The fork server (`forked`) takes this place wherever it runs (DESIGN.md decision 7); this stays as the fallback.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import structlog
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec

from services.executor import to_the_end
from services.executor.kernels import connecting, processes
from services.executor.kernels.client import RunClient, new_context
from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.connecting import Connection
from services.executor.kernels.metering import Meter, ProcessMeter
from services.executor.kernels.port import Kernel, KernelExit, KernelRequest, KernelStartError, LayOut, Usage
from services.executor.kernels.provisioner import ChildProcessProvisioner
from services.executor.kernels.shutdown import shut_down
from services.executor.kernels.start_line import start_line

log = structlog.get_logger(__name__)

PYTHON_OPTIONS = (
    "-f", "{connection_file}", "--HistoryManager.hist_file=:memory:", "--IPKernelApp.no_stdout=False"
)  # fmt: skip
"""Options of all Python kernels that are started by a command line; history stays in memory, nothing outlives a run."""


def python_command(python: Path) -> KernelCommand:
    """The kernel of a Python environment."""
    first = f"--IPKernelApp.exec_lines={start_line()}"
    return KernelCommand(argv=(str(python), "-m", "ipykernel_launcher", *PYTHON_OPTIONS, first))


KILL_WAIT_S = 2.0
"""How long a killed process may take to be reaped, in seconds."""


class PlainKernel:
    """See `port.Kernel`."""

    def __init__(
        self,
        provisioner: ChildProcessProvisioner,
        connection: Connection,
        client: RunClient,
        run_dir: Path,
        ended_by: str,
    ) -> None:
        self.run_dir = run_dir
        self.client = client
        self.exited: asyncio.Future[KernelExit] = asyncio.get_running_loop().create_future()
        self._provisioner = provisioner
        self._connection = connection
        self._ended_by = ended_by
        self._usage: Usage | None = None
        process = provisioner.process
        self.meter: Meter | None = ProcessMeter(process.pid) if process is not None else None
        assert provisioner.exited is not None  # noqa: S101 - made by the launch
        provisioner.exited.add_done_callback(self._on_exit)

    def _on_exit(self, code: asyncio.Future[int]) -> None:
        if not self.exited.done() and not code.cancelled():
            self.exited.set_result(KernelExit(code=code.result(), ended_by=self._ended_by))

    async def interrupt(self) -> None:
        """See Kernel."""
        await self._provisioner.send_signal(signal.SIGINT)

    async def shut_down(self, grace_s: float) -> None:
        """See Kernel. Its use is measured first: afterwards nobody can tell."""
        self.usage()
        await shut_down(self.client, self.exited, grace_s)

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
        if self.meter is not None:
            self.meter.close()
        self.client.stop_channels()
        self._connection.remove()


class PlainKernels:
    """A kernel source that starts a kernel for each request. `commands` has one for each kernel type that there is."""

    def __init__(
        self, commands: Mapping[str, KernelCommand], *, python: Path, lay_out: LayOut, start_timeout_s: float
    ) -> None:
        self._commands = commands
        self._python = python
        self._lay_out = lay_out
        self._start_timeout_s = start_timeout_s
        self._context: zmq.asyncio.Context | None = None

    async def open(self) -> None:
        """See KernelSource."""
        self._context = new_context(reconnecting=True)

    async def close(self) -> None:
        """See KernelSource."""
        if self._context is not None:
            self._context.destroy(linger=0)

    async def acquire(self, request: KernelRequest) -> Kernel:
        """See KernelSource."""
        command = self._commands.get(request.kernel_type)
        if command is None:
            raise KernelStartError(no_such_kernel(request.kernel_type, self._commands))
        if request.python is not None:
            command = python_command(request.python)
        run_dir = request.run_dir
        try:
            await to_the_end.in_thread(self._lay_out, run_dir)
            return await self._start(request, command, run_dir)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, run_dir, ignore_errors=True)
            raise

    async def _start(self, request: KernelRequest, command: KernelCommand, run_dir: Path) -> Kernel:
        connection = Connection(run_dir, command.transport)
        connection.write()
        spec = KernelSpec(argv=list(command.argv), display_name=request.kernel_type)
        provisioner = ChildProcessProvisioner(kernel_id=run_dir.name, kernel_spec=spec)
        provisioner.connection_info = connection.info
        argv = [part.replace("{connection_file}", str(connection.file)) for part in command.argv]
        environment = connecting.environment_for(run_dir, request.python or self._python) | dict(command.environment)
        await provisioner.launch_kernel(argv, env=environment, cwd=run_dir / "work")
        kernel = PlainKernel(provisioner, connection, connection.client(self._context), run_dir, command.ended_by)
        try:
            limit_s = command.start_timeout_s or self._start_timeout_s
            await connecting.meet(_handshake(kernel.client, connection), kernel.exited, limit_s)
        except KernelStartError as error:
            await kernel.close()
            tail = " ".join(list(provisioner.stderr_tail)[-3:])
            raise KernelStartError(f"{error}. {tail}".strip()) from None
        except BaseException:
            await kernel.close()
            raise
        return kernel


async def _handshake(client: RunClient, connection: Connection) -> None:
    await connection.bound()
    await connecting.shake_hands(client)


def no_such_kernel(kernel_type: str, commands: Mapping[str, KernelCommand]) -> str:
    """What a run's owner is told whose kernel this worker does not have."""
    available = ", ".join(sorted(commands))
    return (
        f"this worker has no {kernel_type} kernel; it has: {available}. The operator adds it: `make kernels` installs "
        "R and Scala, docs/operations.md names the settings."
    )
