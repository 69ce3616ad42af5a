"""Pools of ready kernels that are started by their command lines: one for each kernel type and each environment."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.forked_kernel import ForkedKernel
from services.executor.kernels.pool import Pool

log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""How often the environments of ready kernels are looked at, in seconds."""

IDLE_S = 1800.0
"""How long a kernel of a built environment waits for a run before it is given up, in seconds."""

Make = Callable[[str, KernelCommand], Awaitable[ForkedKernel]]
"""Starts a kernel in a folder of its own: its kind and its command."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What kernels of one pool have in common. `kind` names them in metrics; `lasting` ones are never given up."""

    kind: str
    command: KernelCommand
    lasting: bool


@dataclass
class _Shelf:
    origin: Origin
    pool: Pool
    fingerprint: tuple[object, ...]
    used: float


class Spares:
    """A run takes the ready kernel of its origin, and another is started behind its back. Of origins that do not last
    only the `most` last used keep a kernel."""

    def __init__(self, make: Make, *, most: int) -> None:
        self._make = make
        self._most = most
        self._shelves: OrderedDict[tuple[str, ...], _Shelf] = OrderedDict()
        self._ending: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    def start(self, eager: Iterable[tuple[Origin, int]] = ()) -> None:
        """Begin; of `eager` origins so many kernels are made at once."""
        self._looking = asyncio.create_task(self._look())
        for origin, size in eager:
            self._add(origin, size)

    async def stop(self) -> None:
        """End the kernels that wait."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for key in list(self._shelves):
            self._drop(key)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def take(self, origin: Origin) -> ForkedKernel | None:
        """A ready kernel, or None when there is none."""
        key = origin.command.argv
        shelf = self._shelves.get(key)
        if shelf is not None and (shelf.origin != origin or shelf.fingerprint != fingerprint(origin.command)):
            log.info("an environment has changed, its ready kernels are given up", kernel=origin.kind)
            self._drop(key)
            shelf = None
        if shelf is None:
            return None
        self._shelves.move_to_end(key)
        shelf.used = time.monotonic()
        return await shelf.pool.take()

    def keep_one(self, origin: Origin) -> None:
        """From now on keep a kernel of this origin ready; to be called when a run has got its own."""
        if origin.command.argv not in self._shelves and (origin.lasting or self._most > 0):
            self._add(origin, 1)
            self._keep_to_most()

    async def drop_all(self) -> None:
        """Let no kernel made so far be used any more."""
        await asyncio.gather(*(shelf.pool.drop_all() for shelf in self._shelves.values()))

    def ready(self) -> dict[str, int]:
        """How many kernels wait, by kind."""
        found: dict[str, int] = {}
        for shelf in self._shelves.values():
            found[shelf.origin.kind] = found.get(shelf.origin.kind, 0) + shelf.pool.ready
        return found

    def _add(self, origin: Origin, size: int) -> None:
        pool = Pool(lambda: self._make(origin.kind, origin.command), size, kernel=origin.kind)
        self._shelves[origin.command.argv] = _Shelf(origin, pool, fingerprint(origin.command), time.monotonic())
        pool.start()

    def _keep_to_most(self) -> None:
        passing = [key for key, shelf in self._shelves.items() if not shelf.origin.lasting]
        for key in passing[: max(0, len(passing) - self._most)]:
            self._drop(key)

    def _drop(self, key: tuple[str, ...]) -> None:
        task = asyncio.create_task(self._shelves.pop(key).pool.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _look(self) -> None:
        """Give up kernels of environments that have changed, are gone, or are no longer asked for."""
        while True:
            await asyncio.sleep(LOOK_S)
            for key, shelf in list(self._shelves.items()):
                idle = not shelf.origin.lasting and time.monotonic() - shelf.used > IDLE_S
                if idle or shelf.fingerprint != fingerprint(shelf.origin.command):
                    log.info("ready kernels are given up", kernel=shelf.origin.kind, idle=idle)
                    self._drop(key)


def fingerprint(command: KernelCommand) -> tuple[object, ...]:
    """Changes when what a command starts is installed anew, removed, or another in its place."""
    found: list[object] = []
    for path in (Path(command.argv[0]), *command.readable):
        for each in (path, path / "pyvenv.cfg", *path.glob("lib/python3*/site-packages")):
            with contextlib.suppress(OSError):
                status = each.stat()
                found.append((str(each), status.st_ino, status.st_mtime_ns))
    return tuple(found)
