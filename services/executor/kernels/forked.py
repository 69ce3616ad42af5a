"""Kernels of the fork server, confined: forked ones, and those started by their command lines; some are kept ready."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog
from prometheus_client import Counter, Histogram

from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.fork_link import ForkServerGone
from services.executor.kernels.fork_options import ForkOptions
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.forkserver import outlet
from services.executor.kernels.isolation import Isolation
from services.executor.kernels.plain import PYTHON_OPTIONS
from services.executor.kernels.pool import Pool
from services.executor.kernels.port import BUILT, Kernel, KernelRequest, KernelSource, KernelStartError, LayOut
from services.executor.kernels.spares import Origin, Spares
from services.executor.kernels.start_priority import StartPriority
from services.executor.kernels.starting import READY_BUCKETS, ServerSource, Starter
from services.executor.kernels.warm_server import WarmServer

log = structlog.get_logger(__name__)

BASE = "python3"
"""The type of kernels that are forked."""

_PROGRAM = outlet.program()

ACQUIRED = Counter(
    "atelier_kernels_acquired_total", "Kernels given to runs, by where they came from", ["kernel", "source"]
)
ACQUIRE_S = Histogram(
    "atelier_kernel_acquire_seconds", "Time until a run had a ready kernel", ["kernel"], buckets=READY_BUCKETS
)


class SpareSource(Protocol):
    """Where kernels come from that take long to start: pools of this process (`spares`), or of another one."""

    def start(self, eager: Iterable[tuple[Origin, int]] = ()) -> None:
        """Begin; of `eager` origins so many kernels are made at once."""

    async def stop(self) -> None:
        """End the kernels that wait."""

    async def take(self, origin: Origin) -> tuple[ForkedKernel, bool]:
        """A kernel, and whether it was ready. Raises KernelStartError."""

    async def drop_all(self) -> None:
        """Let no kernel made so far be used any more."""

    def ready(self) -> dict[str, int]:
        """How many kernels wait, by kind."""


class ForkedKernels:
    """A kernel source. `new_folder` names a folder for a kernel that is made before its run, `lay_out` makes it;
    `commands` start the types of kernels that are not forked. Without `server` and `spares` it has its own."""

    def __init__(
        self,
        options: ForkOptions,
        *,
        scratch: Path,
        new_folder: Callable[[], Path],
        lay_out: LayOut,
        fallback: KernelSource,
        commands: Mapping[str, KernelCommand] | None = None,
        server: Callable[[Callable[[], Awaitable[None]]], ServerSource] | None = None,
        spares: Callable[[Starter], SpareSource] | None = None,
        on_ready: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._new_folder = new_folder
        self._fallback = fallback
        self._commands = dict(commands or {})
        self._plain_reason: str | None = None
        self._server: ServerSource = (
            WarmServer(options, scratch, self._drop_spares) if server is None else server(self._drop_spares)
        )
        self._starter = Starter(options, self._server, lay_out)
        self.pool = Pool(self._start_spare, options.pool_size, on_change=on_ready)
        self.spares: SpareSource = (
            Spares(self._start_other_spare, most=options.environment_spares)
            if spares is None
            else spares(self._starter)
        )

    async def open(self) -> None:
        """See KernelSource. Raises TooLittleIsolation when the machine does not allow the configured minimum."""
        try:
            await self._server.open()
        except ForkServerGone as error:
            self.isolation.require(self._options.minimum)
            self._plain_reason = str(error)
            log.warning("kernels are started plainly, slowly and without isolation", reason=self._plain_reason)
        await self._fallback.open()
        self._starter.open()
        if self._plain_reason is not None:
            return
        self.pool.start()
        sizes = {kind: size for kind, size in self._options.pool_sizes.items() if size and self._confines(kind)}
        self.spares.start((_lasting(kind, self._commands[kind]), size) for kind, size in sizes.items())

    def _confines(self, kernel_type: str) -> bool:
        """Whether a kernel type can be started inside the sandbox here."""
        command = self._commands.get(kernel_type)
        return command is not None and (command.transport == "ipc" or self.isolation.holds("net"))

    async def close(self) -> None:
        """See KernelSource."""
        await self.pool.stop()
        await self.spares.stop()
        await self._server.close()
        await self._fallback.close()
        self._starter.close()

    async def _drop_spares(self) -> None:
        await self.pool.drop_all()
        await self.spares.drop_all()

    async def check(self) -> dict[str, Any]:
        """For `/readyz`: what holds the kernels in, and how many are ready. Raises while there is no fork server."""
        reason = self._why_plain()
        if reason is None and not self._server.up.is_set():
            raise ForkServerGone("the fork server is being started")
        plain = {"plain": reason} if reason is not None else {}
        return {
            **self.isolation.details(),
            **plain,
            "ready": self.pool.ready,
            "poolSize": self._options.pool_size,
            "readyByKernel": {BASE: self.pool.ready, **self.spares.ready()},
        }

    @property
    def isolation(self) -> Isolation:
        """What holds kernels in on this machine."""
        return self._server.isolation

    @property
    def server_pid(self) -> int | None:
        """The fork server's process."""
        return self._server.pid

    async def acquire(self, request: KernelRequest) -> Kernel:
        """See KernelSource."""
        began = time.monotonic()
        kernel: Kernel
        if self._plain_reason is None:
            self._server.look_for_changes()
            await self._starter.wait_for_server()
        if self._why_plain() is not None:
            kernel, source = await self._fallback.acquire(request), "plain"
        elif request.kernel_type == BASE and request.python is None:
            kernel, source = await self._acquire_forked(request)
        else:
            kernel, source = await self._acquire_other(request)
        ACQUIRED.labels(kernel=request.kind, source=source).inc()
        ACQUIRE_S.labels(kernel=request.kind).observe(time.monotonic() - began)
        return kernel

    def _why_plain(self) -> str | None:
        """Why kernels are started plainly now, where that is allowed; None while there is a fork server, or may be."""
        if self._plain_reason is not None or self._options.minimum != "none" or self._server.up.is_set():
            return self._plain_reason
        return self._server.broken

    async def _acquire_forked(self, request: KernelRequest) -> tuple[Kernel, str]:
        spare = await self.pool.take()
        if spare is not None:
            return spare, "pool"
        return await self._starter.start(request.run_dir, BASE), "fork"

    async def _acquire_other(self, request: KernelRequest) -> tuple[Kernel, str]:
        origin = self._origin(request)
        if origin is None:
            return await self._fallback.acquire(request), "plain"
        if origin.command.transport == "tcp" and not self.isolation.holds("net"):
            if self._options.minimum != "none":
                raise KernelStartError(
                    f"a {request.kernel_type} kernel needs a network namespace, which this worker cannot give it; ask "
                    "the operator to allow the worker namespaces"
                )
            log.warning("a kernel is started plainly: there is no network namespace", kernel=request.kernel_type)
            return await self._fallback.acquire(request), "plain"
        kernel, was_ready = await self.spares.take(origin)
        return kernel, "pool" if was_ready else "start"

    def _origin(self, request: KernelRequest) -> Origin | None:
        """How a kernel that is not forked is started; None where this worker has no such kernel."""
        if request.python is not None:
            argv = (str(request.python), "-c", _PROGRAM, *PYTHON_OPTIONS)
            command = KernelCommand(argv=argv, readable=request.readable, waits_for_reader=True)
            return Origin(kind=BUILT, command=command, lasting=False)
        command_of_type = self._commands.get(request.kernel_type)
        return _lasting(request.kernel_type, command_of_type) if command_of_type is not None else None

    async def _start_spare(self) -> ForkedKernel:
        await self._server.up.wait()
        return await self._starter.start(self._new_folder(), BASE)

    async def _start_other_spare(self, kind: str, command: KernelCommand, priority: StartPriority) -> ForkedKernel:
        await self._starter.wait_for_server()
        return await self._starter.start(self._new_folder(), kind, command, priority)


def _lasting(kernel_type: str, command: KernelCommand) -> Origin:
    return Origin(kind=kernel_type, command=command, lasting=True)
