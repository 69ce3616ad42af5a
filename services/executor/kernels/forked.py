"""Kernels forked from a warm server and confined: a pool keeps some ready, each is used once."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from prometheus_client import Counter, Histogram

from services.executor.kernels import connecting, isolation
from services.executor.kernels.connecting import Connection
from services.executor.kernels.fork_link import ForkLink, ForkServerGone
from services.executor.kernels.forked_provisioner import ForkedKernelProvisioner
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.isolation import Isolation, Level
from services.executor.kernels.metering import Meter
from services.executor.kernels.pool import Pool
from services.executor.kernels.port import (
    Kernel,
    KernelExit,
    KernelRequest,
    KernelSource,
    KernelStartError,
    LayOut,
    Usage,
)

log = structlog.get_logger(__name__)

KILL_WAIT_S = 5.0
"""How long a killed kernel may take until nothing of it is left, in seconds."""

RESTART_PAUSES_S = (0.0, 0.5, 2.0, 10.0)
"""Pauses before a fork server that has ended is started again, in seconds; the last repeats."""

STDERR_BYTES = 2000
"""How much of a kernel's own stderr explains a failed start."""

READY_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)

ACQUIRED = Counter(
    "atelier_kernels_acquired_total", "Kernels given to runs, by where they came from", ["kernel", "source"]
)
ACQUIRE_S = Histogram("atelier_kernel_acquire_seconds", "Time until a run had a ready kernel", buckets=READY_BUCKETS)
START_S = Histogram("atelier_kernel_start_seconds", "From a fork until its kernel was ready", buckets=READY_BUCKETS)
CPU_S = Histogram("atelier_kernel_cpu_seconds", "Processor time of a kernel, start included",
                  buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600))  # fmt: skip
SERVER_STARTS = Counter("atelier_fork_server_starts_total", "Starts of the fork server")


@dataclass(frozen=True, kw_only=True)
class ForkOptions:
    """How kernels are forked."""

    python: Path
    imports: list[str]
    uids: tuple[int, int]
    limits: Limits
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    pool_size: int = 1
    minimum: Level = "strong"
    start_timeout_s: float = 60.0
    without_layers: list[str] = field(default_factory=list)


class ForkedKernel:
    """See `port.Kernel`."""

    def __init__(
        self, provisioner: ForkedKernelProvisioner, connection: Connection, client: AsyncKernelClient, run_dir: Path
    ) -> None:
        self.run_dir = run_dir
        self.client = client
        self.exited: asyncio.Future[KernelExit] = provisioner.exited
        self.provisioner = provisioner
        self._connection = connection
        self._closed = False

    @property
    def meter(self) -> Meter | None:
        """See Kernel."""
        return self.provisioner.meter

    async def interrupt(self) -> None:
        """See Kernel."""
        await self.provisioner.send_signal(2)

    async def kill(self) -> None:
        """See Kernel."""
        await self.provisioner.kill()

    def usage(self) -> Usage | None:
        """See Kernel."""
        return self.provisioner.usage

    async def close(self) -> None:
        """See Kernel."""
        if self._closed:
            return
        self._closed = True
        await self.kill()
        try:
            async with asyncio.timeout(KILL_WAIT_S):
                await self.provisioner.cleanup()
        except TimeoutError:
            log.error("a kernel is not gone in time", pid=self.provisioner.identity)
        if self.provisioner.usage is not None:
            CPU_S.observe(self.provisioner.usage.cpu_seconds)
        self.client.stop_channels()
        self._connection.remove()


class ForkedKernels:
    """A kernel source. `new_folder` names a folder for a kernel that is made before its run, `lay_out` makes it."""

    def __init__(
        self,
        options: ForkOptions,
        *,
        scratch: Path,
        new_folder: Callable[[], Path],
        lay_out: LayOut,
        fallback: KernelSource,
    ) -> None:
        self._options = options
        self._scratch = scratch
        self._new_folder = new_folder
        self._lay_out = lay_out
        self._fallback = fallback
        self._context: zmq.asyncio.Context | None = None
        self._identities = itertools.count(1)
        self._servers = itertools.count(1)
        self._link: ForkLink | None = None
        self._retired: list[ForkLink] = []
        self._up = asyncio.Event()
        self._guard: asyncio.Task[None] | None = None
        self._recycling = asyncio.Event()
        self._plain_reason: str | None = None
        self._environment: tuple[object, ...] = ()
        self.isolation: Isolation = isolation.NOTHING
        self.pool = Pool(self._start_spare, options.pool_size)

    async def open(self) -> None:
        """See KernelSource. Raises TooLittleIsolation when the machine does not allow the configured minimum."""
        self._scratch.mkdir(mode=0o755)
        try:
            await self._start_server()
        except ForkServerGone as error:
            self.isolation.require(self._options.minimum)
            self._plain_reason = str(error)
            log.warning("kernels are started plainly, slowly and without isolation", reason=self._plain_reason)
        await self._fallback.open()
        self._context = connecting.new_context(reconnecting=False)
        if self._link is None:
            return
        self._guard = asyncio.create_task(self._watch_over_server())
        self.pool.start()

    async def close(self) -> None:
        """See KernelSource."""
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.gather(self._guard, return_exceptions=True)
        await self.pool.stop()
        for link in (*self._retired, *([self._link] if self._link is not None else [])):
            await link.close()
        await self._fallback.close()
        if self._context is not None:
            self._context.destroy(linger=0)

    async def check(self) -> dict[str, Any]:
        """For `/readyz`: what holds the kernels in, and how many are ready. Raises while there is no fork server."""
        if self._plain_reason is None and not self._up.is_set():
            raise ForkServerGone("the fork server is being started")
        plain = {"plain": self._plain_reason} if self._plain_reason else {}
        return {**self.isolation.details(), **plain, "ready": self.pool.ready, "poolSize": self._options.pool_size}

    @property
    def server_pid(self) -> int | None:
        """The fork server's process."""
        return self._link.pid if self._link is not None else None

    async def acquire(self, request: KernelRequest) -> Kernel:
        """See KernelSource."""
        began = time.monotonic()
        if request.python is not None and self._options.minimum != "none":
            raise KernelStartError(
                "kernels of other environments than the base are not isolated yet, and this worker wants "
                f"isolation {self._options.minimum!r}; ask the operator to add the packages to the base environment"
            )
        if request.kernel_type != "python3" or request.python is not None or self._plain_reason is not None:
            kernel = await self._fallback.acquire(request)
            source = "plain"
        else:
            if self._up.is_set() and self._environment != self._environment_now():
                log.info("the kernel environment has changed, ready kernels are made anew")
                self._up.clear()
                self._recycling.set()
            spare = await self.pool.take() if self._up.is_set() else None
            kernel = spare if spare is not None else await self._start_for(request)
            source = "pool" if spare is not None else "fork"
        ACQUIRED.labels(kernel=request.kernel_type, source=source).inc()
        ACQUIRE_S.observe(time.monotonic() - began)
        return kernel

    async def _start_for(self, request: KernelRequest) -> ForkedKernel:
        try:
            async with asyncio.timeout(self._options.start_timeout_s):
                await self._up.wait()
        except TimeoutError:
            raise KernelStartError("there was no fork server to make it; the worker's log says why") from None
        return await self._start(request.run_dir)

    async def _start_spare(self) -> ForkedKernel:
        await self._up.wait()
        return await self._start(self._new_folder())

    async def _start(self, run_dir: Path) -> ForkedKernel:
        try:
            await asyncio.to_thread(self._lay_out, run_dir)
            return await self._start_in(run_dir)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, run_dir, ignore_errors=True)
            raise

    async def _start_in(self, run_dir: Path) -> ForkedKernel:
        began = time.monotonic()
        assert self._link is not None  # noqa: S101 - it is up
        connection = Connection(run_dir)
        connection.write()
        provisioner = ForkedKernelProvisioner(
            kernel_id=run_dir.name, kernel_spec=KernelSpec(argv=[], display_name="Python 3")
        )
        provisioner.connection_info = connection.info
        provisioner.prepare(
            self._link,
            next(self._identities),
            asdict(self._options.limits),
            same_pids=not self.isolation.user_namespace,
        )
        await provisioner.launch_kernel(
            [],
            run_dir=run_dir,
            connection_file=connection.file,
            env=connecting.environment_for(run_dir, self._options.python),
            threads=self._options.threads,
        )
        kernel = ForkedKernel(provisioner, connection, connection.client(self._context), run_dir)
        try:
            await self._wait_ready(kernel)
        except BaseException:
            await kernel.close()
            raise
        connection.forget()
        START_S.observe(time.monotonic() - began)
        return kernel

    async def _wait_ready(self, kernel: ForkedKernel) -> None:
        async def become_ready() -> None:
            await kernel.provisioner.bound
            await connecting.shake_hands(kernel.client)

        ready = asyncio.create_task(become_ready())
        watched: set[asyncio.Future[Any]] = {ready, kernel.exited}
        limit = self._options.start_timeout_s
        try:
            async with asyncio.timeout(limit):
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise KernelStartError(f"the kernel did not answer within {limit:.0f} seconds of its start") from None
        finally:
            if not ready.done():
                ready.cancel()
                await asyncio.gather(ready, return_exceptions=True)
        if kernel.exited.done():
            words = await asyncio.to_thread(_last_words, kernel.run_dir)
            raise KernelStartError(f"the kernel ended while starting: {kernel.exited.result().reason}. {words}".strip())
        ready.result()

    async def _start_server(self) -> None:
        """Start a server and judge what it can do. Raises ForkServerGone or TooLittleIsolation."""
        scratch = self._scratch / f"s{next(self._servers)}"
        scratch.mkdir(mode=0o755)
        canary = scratch / "canary"
        canary.write_text("kernels must not see this\n", encoding="ascii")
        canary.chmod(0o644)
        self._environment = self._environment_now()
        link = ForkLink(
            self._options.python,
            {
                "imports": self._options.imports,
                "scratch": str(scratch),
                "canary": str(canary),
                "uids": self._options.uids,
                "withoutLayers": self._options.without_layers,
            },
        )
        SERVER_STARTS.inc()
        try:
            report = await link.start()
            self.isolation = Isolation.of(report)
            self.isolation.require(self._options.minimum)
        except BaseException:
            await link.close()
            raise
        failed = report["preload"]["failed"]
        log.info(
            "fork server ready",
            isolation=self.isolation.level,
            layers={name: layer["detail"] for name, layer in self.isolation.layers.items()},
            preload_seconds=report["preload"]["seconds"],
            threads=report["threads"],
            user_namespace=self.isolation.user_namespace,
        )
        if self.isolation.faults:
            log.warning("the sandbox does not hold", faults=self.isolation.faults)
        if failed:
            log.warning("not imported before the fork", failed=failed)
        self._link = link
        self._up.set()

    async def _watch_over_server(self) -> None:
        """Start the server again when it has ended, or when the environment it has imported is no longer the same."""
        attempt = 0
        while True:
            assert self._link is not None  # noqa: S101 - started before
            ended = asyncio.create_task(self._link.ended.wait())
            changed = asyncio.create_task(self._recycling.wait())
            try:
                began = time.monotonic()
                await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                changed.cancel()
            self._up.clear()
            old = self._link
            if not self._recycling.is_set():
                log.error("the fork server has ended", last_words=old.last_words)
            await self.pool.drop_all()
            attempt = 0 if self._recycling.is_set() or time.monotonic() - began > RESTART_PAUSES_S[-1] else attempt
            while not self._up.is_set():
                await asyncio.sleep(RESTART_PAUSES_S[min(attempt, len(RESTART_PAUSES_S) - 1)])
                attempt += 1
                try:
                    await self._start_server()
                except (ForkServerGone, isolation.TooLittleIsolation, OSError) as error:
                    log.error("the fork server could not be started again", reason=str(error))
            if self._recycling.is_set():
                self._recycling.clear()
                old.retire()  # its runs finish, then it ends
                self._retired.append(old)
            else:
                await old.close()

    def _environment_now(self) -> tuple[object, ...]:
        """Changes when something is installed into or removed from the kernels' environment, or the interpreter is."""
        prefix = self._options.python.parent.parent
        paths = [self._options.python, prefix / "pyvenv.cfg", *prefix.glob("lib/python3*/site-packages")]
        return tuple((str(path), path.stat().st_mtime_ns) for path in paths if path.exists())


def _last_words(run_dir: Path) -> str:
    """The end of what a kernel wrote to its stderr. It may have put anything in the file's place."""
    try:
        descriptor = os.open(
            run_dir / connecting.SOCKETS_FOLDER / "stderr", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        )
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(STDERR_BYTES * 10)[-STDERR_BYTES:].decode(errors="replace").strip()
