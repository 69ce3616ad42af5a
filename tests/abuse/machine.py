"""The processes of a stack as their machine sees them: memory, children, and how long they wait for a processor."""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from pathlib import Path

import psutil

from deploy.local import Stack

MEMORY_MB = {
    "gateway": 512,
    "catalog": 512,
    "control": 512,
    "artifacts": 512,
    "worker": 256,
    "template": 256,
    "pools": 256,
    "slot": 768,
}
"""The most that each process may ever hold, in megabytes (docs/limits.md): `worker` is the supervisor, the last three
are its own processes. Children that work on one thing have limits of their own."""

SERVICE_PROCESSES = 1
"""Below a service at rest: the template of those that work on one thing."""

WORKER_PROCESSES, PROCESSES_A_SLOT = 4, 3
"""Below a worker at rest: its fork server, the maker of keepers, the template and the pools; the slot itself, and its
ready kernel with a keeper."""

LOOK_S = 0.1
"""How often the waiting is looked at, in seconds."""

READERS = ("gateway", "catalog", "control")
"""Services that a read of a notebook passes through."""


class Waits:
    """How long the readers' main threads have been ready to run while the processors were busy, by time."""

    def __init__(self, stack: Stack) -> None:
        self._pids = [stack.services[name].pid for name in READERS]
        self._times: list[float] = []
        self._seconds: list[float] = []

    def look(self) -> None:
        """Take down what it is now (proc(5), schedstat; zero where the kernel does not tell)."""
        nanoseconds = 0
        for pid in self._pids:
            with contextlib.suppress(OSError):
                nanoseconds += int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1])
        self._times.append(time.time())
        self._seconds.append(nanoseconds / 1e9)

    def between(self, began: float, ended: float) -> float:
        """Return the seconds of waiting between two times."""
        return self._until(ended + LOOK_S) - self._until(began)

    def _until(self, moment: float) -> float:
        at = bisect_right(self._times, moment) - 1
        return self._seconds[max(at, 0)] if self._times else 0.0


@contextlib.asynccontextmanager
async def watching(stack: Stack) -> AsyncIterator[Waits]:
    """Take down the waiting within the context."""
    waits = Waits(stack)

    async def watch() -> None:
        while True:
            waits.look()
            await asyncio.sleep(LOOK_S)

    watch_task = asyncio.create_task(watch())
    try:
        yield waits
    finally:
        watch_task.cancel()
        waits.look()


def left_over(stack: Stack, slots: int) -> dict[str, int]:
    """Return, for each service with more processes below it than it has when nothing is worked on, how many more."""
    found = {}
    for name, service in stack.services.items():
        most = WORKER_PROCESSES + PROCESSES_A_SLOT * slots if name == "worker" else SERVICE_PROCESSES
        if (more := len(psutil.Process(service.pid).children(recursive=True)) - most) > 0:
            found[name] = more
    return found


def forget_peaks(stack: Stack) -> None:
    """Have all judged processes' most memory counted anew."""
    for pid in _judged(stack).values():
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins anew: proc(5)


def peaks(stack: Stack) -> dict[str, int]:
    """Return the most that each judged process has held, in megabytes."""
    found = {}
    for name, pid in _judged(stack).items():
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
            found[name] = int(text.partition("VmHWM:")[2].split()[0]) // 1024
    return found


def too_large(stack: Stack) -> list[str]:
    """Say which processes held more than they may."""
    most = {name: MEMORY_MB[name.partition("-")[0]] for name in _judged(stack)}
    return [
        f"{name} held {held} MB, more than {most[name]} MB" for name, held in peaks(stack).items() if held > most[name]
    ]


def _judged(stack: Stack) -> dict[str, int]:
    """The services, and the worker's own processes, by name."""
    found = {name: psutil.Process(service.pid).pid for name, service in stack.services.items()}
    for process in psutil.Process(stack.worker.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name().partition("-")[0] in ("template", "pools", "slot"):
                found[process.name()] = process.pid
    return found
