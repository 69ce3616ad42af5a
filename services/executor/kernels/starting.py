"""Starts one kernel through the fork server, forked or by its command line, and waits until it is ready."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec
from prometheus_client import Histogram

from services.executor import to_the_end
from services.executor.kernels import connecting, meeting
from services.executor.kernels.client import new_context
from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.connecting import Connection
from services.executor.kernels.fork_channel import ForkChannel
from services.executor.kernels.fork_options import ForkOptions
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.forked_provisioner import ForkedKernelProvisioner
from services.executor.kernels.isolation import Isolation
from services.executor.kernels.meeting import SocketHold
from services.executor.kernels.port import KernelStartError, LayOut
from services.executor.kernels.start_priority import StartPriority

READY_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)
"""Up to a Scala kernel that starts on a busy machine, in seconds."""

START_S = Histogram(
    "atelier_kernel_start_seconds", "From a request until its kernel was ready", ["kernel"], buckets=READY_BUCKETS
)


class ServerSource(Protocol):
    """Where the fork server is: this process has one of its own (`warm_server`), or follows the worker's."""

    up: asyncio.Event
    settled: asyncio.Event
    broken: str | None
    isolation: Isolation

    @property
    def link(self) -> ForkChannel:
        """The connection to the server that takes requests; to be asked only after `up`."""

    @property
    def pid(self) -> int | None:
        """Its process, where that is known."""

    async def open(self) -> None:
        """Wait for it. Raises ForkServerGone, or TooLittleIsolation."""

    async def close(self) -> None:
        """End what this process has of it."""

    def look_for_changes(self) -> None:
        """Have it started anew when what it has imported is no longer what is installed."""


class Starter:
    """See the module. `kind` names a kernel in metrics; without a `command` it is forked from the base environment."""

    def __init__(self, options: ForkOptions, server: ServerSource, lay_out: LayOut) -> None:
        self._options = options
        self._server = server
        self._lay_out = lay_out
        self._context: zmq.asyncio.Context | None = None

    def open(self) -> None:
        """Prepare to connect."""
        self._context = new_context(reconnecting=False)

    def close(self) -> None:
        """Close what is still connected."""
        if self._context is not None:
            self._context.destroy(linger=0)

    async def wait_for_server(self) -> None:
        """Return when there is a server, or, where kernels may be started plainly, none can be had; raises
        KernelStartError when there is none for long."""
        plainly = self._options.minimum == "none"
        try:
            async with asyncio.timeout(self._options.start_timeout_s):
                await (self._server.settled if plainly else self._server.up).wait()
        except TimeoutError:
            raise KernelStartError("there was no fork server to make it; the worker's log says why") from None

    async def start(
        self,
        run_dir: Path,
        kind: str,
        command: KernelCommand | None = None,
        priority: StartPriority | None = None,
    ) -> ForkedKernel:
        """A ready kernel in the new folder `run_dir`; raises KernelStartError and leaves no folder then."""
        began = time.monotonic()
        try:
            await to_the_end.in_thread(self._lay_out, run_dir)
            kernel = await self._start_in(run_dir, command, priority)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, run_dir, ignore_errors=True)
            raise
        START_S.labels(kernel=kind).observe(time.monotonic() - began)
        return kernel

    async def _start_in(
        self, run_dir: Path, command: KernelCommand | None, priority: StartPriority | None
    ) -> ForkedKernel:
        connection = Connection(run_dir, forwarded=command is not None and command.transport == "tcp")
        connection.write()
        provisioner = ForkedKernelProvisioner(
            kernel_id=run_dir.name, kernel_spec=KernelSpec(argv=[], display_name="Python 3")
        )
        provisioner.connection_info = connection.info
        provisioner.prepare(
            self._server.link,
            self._server.link.next_identity(),
            asdict(self._options.limits),
            same_pids=not self._server.isolation.user_namespace,
        )
        provisioner.priority = priority
        hold = SocketHold(connection) if command is not None else None
        client = hold.client(self._context) if hold is not None else connection.client(self._context)
        client.kernel_waits = command is None or command.waits_for_reader
        kernel = ForkedKernel(provisioner, connection, client, run_dir, hold)
        await self._launch(provisioner, connection, run_dir, command)
        limit = (command.start_timeout_s if command else None) or self._options.start_timeout_s
        try:
            await self._wait_ready(kernel, hold, limit)
        except BaseException:
            await kernel.close()
            raise
        connection.forget()
        return kernel

    async def adopt(
        self, identity: int, run_dir: Path, key: str, command: KernelCommand, sockets: Sequence[int]
    ) -> ForkedKernel:
        """A kernel that another process of the worker has started, by its number, folder, key and `sockets` (see
        `meeting.SocketHold.of`): it is this process's from now on. Raises KernelStartError when it does not answer."""
        connection = Connection.met(run_dir, key)
        hold = SocketHold.of(connection, sockets)
        provisioner = ForkedKernelProvisioner(
            kernel_id=run_dir.name, kernel_spec=KernelSpec(argv=[], display_name="Python 3")
        )
        provisioner.connection_info = connection.info
        same_pids = not self._server.isolation.user_namespace
        provisioner.prepare(self._server.link, identity, asdict(self._options.limits), same_pids=same_pids)
        provisioner.ended_by = command.ended_by
        client = hold.client(self._context)
        client.kernel_waits = command.waits_for_reader
        kernel = ForkedKernel(provisioner, connection, client, run_dir, hold)
        provisioner.adopt()
        try:
            await connecting.meet(connecting.shake_hands(client), kernel.exited, self._options.start_timeout_s)
        except BaseException:
            await kernel.close()
            await asyncio.to_thread(shutil.rmtree, run_dir, ignore_errors=True)
            raise
        return kernel

    async def _launch(
        self,
        provisioner: ForkedKernelProvisioner,
        connection: Connection,
        run_dir: Path,
        command: KernelCommand | None,
    ) -> None:
        more: dict[str, Any] = {}
        argv: list[str] = []
        environment = connecting.environment_for(run_dir, self._options.python)
        if command is not None:
            argv = [part.replace("{connection_file}", str(connection.file)) for part in command.argv]
            program = Path(argv[0])
            if program.is_absolute():  # its neighbours are found first
                environment = connecting.environment_for(run_dir, program)
            environment |= command.environment
            more = {"readable": [str(path) for path in command.readable], "links": connection.links}
            provisioner.ended_by = command.ended_by
        await provisioner.launch_kernel(
            argv,
            run_dir=run_dir,
            connection_file=connection.file,
            env=environment,
            threads=self._options.threads,
            more=more,
        )

    async def _wait_ready(self, kernel: ForkedKernel, hold: SocketHold | None, limit: float) -> None:
        async def become_ready() -> None:
            if hold is None:
                await kernel.provisioner.bound
            else:
                await hold.become_whole()
            await connecting.shake_hands(kernel.client)

        try:
            await connecting.meet(become_ready(), kernel.exited, limit)
        except KernelStartError as error:
            if not kernel.exited.done():
                raise
            words = await asyncio.to_thread(meeting.last_words, kernel.run_dir, connecting.SOCKETS_FOLDER)
            raise KernelStartError(f"{error}. {words}".strip()) from None
