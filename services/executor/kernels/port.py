"""The port between runs and kernels: a ready, single-use kernel with its client, its exit notice and its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.executor.kernels.client import RunClient
from services.executor.kernels.metering import Meter


class KernelStartError(Exception):
    """The kernel did not become ready; the message says why, in words for the notebook's owner."""


BUILT = "python3-environment"
"""What kernels of built environments are called in metrics."""


@dataclass(frozen=True, kw_only=True)
class KernelRequest:
    """What a run needs of its kernel. `run_dir` is where its folder goes if the kernel does not come with one."""

    kernel_type: str
    run_dir: Path
    python: Path | None = None
    """The interpreter of an environment built for the run; None for the base one."""
    readable: tuple[Path, ...] = ()
    """Where that environment and its interpreter lie."""

    @property
    def kind(self) -> str:
        """What such kernels are called in metrics."""
        return self.kernel_type if self.python is None else BUILT


@dataclass(frozen=True, kw_only=True)
class KernelExit:
    """How a kernel's process ended: `code` as waitpid tells it, negative for a signal; `cause` where a limit did it."""

    code: int
    cause: str | None = None
    ended_by: str = "os._exit called or the interpreter ended"
    """See KernelCommand."""
    is_limit: bool = False
    """`cause` is a limit that was reached, such as `memory limit of 2.0 GB reached`."""

    @property
    def reason(self) -> str:
        """In plain words, for `errorMessage`."""
        if self.cause is not None:
            return self.cause
        if self.code < 0:
            number = -self.code
            try:
                return f"killed by signal {number} ({signal.Signals(number).name})"
            except ValueError:
                return f"killed by signal {number}"
        return f"{self.ended_by} with status {self.code}"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a kernel's processes have used so far; `method` says how it was measured: cgroup, wait4 or proc."""

    cpu_seconds: float
    peak_memory_bytes: int
    method: str


class Kernel(Protocol):
    """A ready kernel with its run folder laid out, used by one run and then ended."""

    run_dir: Path
    client: RunClient
    exited: asyncio.Future[KernelExit]

    @property
    def meter(self) -> Meter | None:
        """Reads what it uses while it runs; None where that cannot be seen."""

    async def interrupt(self) -> None:
        """Ask the running cell to stop (KeyboardInterrupt in Python)."""

    async def shut_down(self, grace_s: float) -> None:
        """Ask an idle kernel to end by itself, so that its exit functions run and its files are written to the end, and
        wait up to `grace_s` seconds for that. Returns early when it has ended; never raises. A kernel that does not end
        in time still runs: `close` or `kill` it afterwards."""

    async def kill(self) -> None:
        """End the kernel and everything it started, at once."""

    def usage(self) -> Usage | None:
        """What it has used; complete after `close`. None when that cannot be told."""

    async def close(self) -> None:
        """Kill, close the channels, leave no process or socket; the folder stays. Safe to call twice."""


LayOut = Callable[[Path], None]
"""Makes a run folder: everything but what only the run knows."""


class KernelSource(Protocol):
    """Where ready kernels come from: started when asked (`plain`) or forked from a warm server (`forked`)."""

    async def open(self) -> None:
        """Prepare; raises when this worker could never start a kernel."""

    async def acquire(self, request: KernelRequest) -> Kernel:
        """A kernel that has answered kernel_info; raises KernelStartError, and leaves no folder then."""

    async def close(self) -> None:
        """End every kernel that is not with a run."""
