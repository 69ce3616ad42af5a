"""Keeps one fork server running: judges what it can do, starts it again when it ends or its environment changes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from prometheus_client import Counter

from services.executor.kernels import isolation
from services.executor.kernels.fork_link import ForkLink
from services.executor.kernels.fork_options import ForkOptions
from services.executor.kernels.isolation import Isolation

log = structlog.get_logger(__name__)

RESTART_PAUSES_S = (0.0, 0.5, 2.0, 10.0)
"""Pauses before a fork server that has ended is started again, in seconds; the last repeats."""

SERVER_STARTS = Counter("atelier_fork_server_starts_total", "Starts of the fork server")


class WarmServer:
    """See the module. `up` is set while `link` takes requests, `settled` also while none can be started, for the reason
    in `broken`. `drop_kernels` ends those made ready by the last one; `on_change` hears that a server has come up or
    cannot be had."""

    def __init__(
        self,
        options: ForkOptions,
        scratch: Path,
        drop_kernels: Callable[[], Awaitable[None]],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._scratch = scratch
        self._drop_kernels = drop_kernels
        self._on_change = on_change
        self._servers = itertools.count(1)
        self._link: ForkLink | None = None
        self._retired: list[ForkLink] = []
        self._guard: asyncio.Task[None] | None = None
        self._recycling = asyncio.Event()
        self._environment: tuple[object, ...] = ()
        self.up = asyncio.Event()
        self.settled = asyncio.Event()
        self.broken: str | None = None
        self.isolation: Isolation = isolation.NOTHING

    @property
    def link(self) -> ForkLink:
        """The server that takes requests; to be asked only after `up`."""
        assert self._link is not None  # noqa: S101 - it is up
        return self._link

    @property
    def pid(self) -> int | None:
        """Its process."""
        return self._link.pid if self._link is not None else None

    async def open(self) -> None:
        """Start it. Raises ForkServerGone, or TooLittleIsolation when the machine does not allow the minimum."""
        self._scratch.mkdir(mode=0o755)
        await self._start()
        self._guard = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """End it, and with it every kernel."""
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.gather(self._guard, return_exceptions=True)
        for link in (*self._retired, *([self._link] if self._link is not None else [])):
            await link.close()

    def look_for_changes(self) -> None:
        """Have it started anew when what it has imported is no longer what is installed."""
        if self.up.is_set() and self._environment != self._environment_now():
            log.info("the kernel environment has changed, ready kernels are made anew")
            self._begin_anew()
            self._recycling.set()

    def _begin_anew(self) -> None:
        self.up.clear()
        self.settled.clear()

    async def _start(self) -> None:
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
        self.broken = None
        self.up.set()
        self.settled.set()
        self._on_change()

    async def left(self, number: int) -> None:
        """Return when nothing is left of the kernels of client `number`, which has ended."""
        links = (*self._retired, *([self._link] if self._link is not None else []))
        await asyncio.gather(*(link.left(number) for link in links))

    async def _watch(self) -> None:
        """Start the server again when it has ended, or when the environment it has imported is no longer the same."""
        attempt = 0
        while True:
            old = self.link
            ended = asyncio.create_task(old.ended.wait())
            changed = asyncio.create_task(self._recycling.wait())
            try:
                began = time.monotonic()
                await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                changed.cancel()
            self._begin_anew()
            if not self._recycling.is_set():
                log.error("the fork server has ended", last_words=old.last_words)
            await self._drop_kernels()
            attempt = 0 if self._recycling.is_set() or time.monotonic() - began > RESTART_PAUSES_S[-1] else attempt
            while not self.up.is_set():
                await asyncio.sleep(RESTART_PAUSES_S[min(attempt, len(RESTART_PAUSES_S) - 1)])
                attempt += 1
                try:
                    await self._start()
                except Exception as error:
                    # Whatever it was: nobody else would start it.
                    self.broken = str(error) or type(error).__name__
                    self.settled.set()
                    self._on_change()
                    log.error("the fork server could not be started again", reason=self.broken)
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
