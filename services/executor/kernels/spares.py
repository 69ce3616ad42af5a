"""Pools of ready kernels that are started by their command lines: one for each kernel type and each environment."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.shared_pool import SharedPool, Starts
from services.executor.kernels.start_priority import StartPriority

log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""How often the environments of ready kernels are looked at, in seconds."""

IDLE_S = 1800.0
"""How long a kernel of a built environment waits for a run before it is given up, in seconds."""

Make = Callable[[str, KernelCommand, StartPriority], Awaitable[ForkedKernel]]
"""Starts a kernel in a folder of its own: its kind and its command."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What kernels of one pool have in common. `kind` names them in metrics; `lasting` ones are never given up."""

    kind: str
    command: KernelCommand
    lasting: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as another process of the worker is told of it."""
        paths = {"readable": [str(path) for path in self.command.readable]}
        return {"kind": self.kind, "command": asdict(self.command) | paths, "lasting": self.lasting}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """Return what `to_json` was made of."""
        command = told["command"]
        lists = {"argv": tuple(command["argv"]), "readable": tuple(Path(path) for path in command["readable"])}
        return cls(kind=told["kind"], command=KernelCommand(**(command | lists)), lasting=told["lasting"])


@dataclass
class _Shelf:
    origin: Origin
    pool: SharedPool
    fingerprint: tuple[object, ...]
    used: float


class Spares:
    """A run takes the ready kernel of its origin, or the next one; another is started behind its back. Of origins that
    do not last only the `most` last used keep a kernel."""

    def __init__(self, make: Make, *, most: int) -> None:
        self._make = make
        self._most = most
        self._starts = Starts()
        self._shelves: OrderedDict[tuple[str, ...], _Shelf] = OrderedDict()
        self._retired: list[SharedPool] = []
        self._looking: asyncio.Task[None] | None = None

    def start(self, eager: Iterable[tuple[Origin, int]] = ()) -> None:
        """Begin; of `eager` origins so many kernels are made at once."""
        self._looking = asyncio.create_task(self._look())
        for origin, size in eager:
            self._add(origin).pool.keep(size)

    async def stop(self) -> None:
        """End the kernels that wait."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for key in list(self._shelves):
            self._retire(key)
        await asyncio.gather(*(pool.stop() for pool in self._retired))

    async def take(self, origin: Origin) -> tuple[ForkedKernel, bool]:
        """A kernel, and whether it was ready; from now on one of its origin is kept ready. Raises KernelStartError when
        none could be started."""
        key = origin.command.argv
        shelf = self._shelves.get(key)
        if shelf is not None and (shelf.origin != origin or shelf.fingerprint != fingerprint(origin.command)):
            log.info("an environment has changed, its ready kernels are given up", kernel=origin.kind)
            self._retire(key)
            shelf = None
        if shelf is None:
            shelf = self._add(origin)
        self._shelves.move_to_end(key)
        shelf.used = time.monotonic()
        kernel, was_ready = await shelf.pool.take()
        if shelf.pool.size == 0 and self._shelves.get(key) is shelf and (origin.lasting or self._most > 0):
            shelf.pool.keep(1)
            self._keep_to_most()
        return kernel, was_ready

    async def drop_all(self) -> None:
        """Let no kernel made so far be used any more."""
        await asyncio.gather(*(shelf.pool.drop_all() for shelf in self._shelves.values()))

    def ready(self) -> dict[str, int]:
        """How many kernels wait, by kind."""
        found: dict[str, int] = {}
        for shelf in self._shelves.values():
            if shelf.pool.size:
                found[shelf.origin.kind] = found.get(shelf.origin.kind, 0) + shelf.pool.ready
        return found

    def _add(self, origin: Origin) -> _Shelf:
        pool = SharedPool(
            lambda priority: self._make(origin.kind, origin.command, priority),
            self._starts,
            kernel=origin.kind,
            start_processors=origin.command.start_processors,
        )
        shelf = _Shelf(origin, pool, fingerprint(origin.command), time.monotonic())
        self._shelves[origin.command.argv] = shelf
        return shelf

    def _keep_to_most(self) -> None:
        passing = [key for key, shelf in self._shelves.items() if not shelf.origin.lasting and shelf.pool.size]
        for key in passing[: max(0, len(passing) - self._most)]:
            self._retire(key)

    def _retire(self, key: tuple[str, ...]) -> None:
        """Keep no kernels of an origin any more; runs that wait for one still get it."""
        self._retired = [pool for pool in self._retired if not pool.is_idle]
        self._retired.append(self._shelves.pop(key).pool)
        self._retired[-1].keep(0)

    async def _look(self) -> None:
        """Give up kernels of environments that have changed, are gone, or are no longer asked for."""
        while True:
            await asyncio.sleep(LOOK_S)
            for key, shelf in list(self._shelves.items()):
                idle = not shelf.origin.lasting and time.monotonic() - shelf.used > IDLE_S
                if idle or shelf.fingerprint != fingerprint(shelf.origin.command):
                    log.info("ready kernels are given up", kernel=shelf.origin.kind, idle=idle)
                    self._retire(key)


def fingerprint(command: KernelCommand) -> tuple[object, ...]:
    """Changes when what a command starts is installed anew, removed, or another in its place."""
    found: list[object] = []
    for path in (Path(command.argv[0]), *command.readable):
        for each in (path, path / "pyvenv.cfg", *path.glob("lib/python3*/site-packages")):
            with contextlib.suppress(OSError):
                status = each.stat()
                found.append((str(each), status.st_ino, status.st_mtime_ns))
    return tuple(found)
