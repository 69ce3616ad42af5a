"""The life of a service process: open its parts in order, run until told to stop, drain, close in reverse."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
import uvloop

from shared import ops, telemetry
from shared.loop_watch import LoopWatch
from shared.ops import Readiness

log = structlog.get_logger(__name__)


class Part(Protocol):
    """Something with a beginning and an end: a pool, a connection, a consumer, a server."""

    async def open(self) -> None:
        """Start; waits for what it depends on."""

    async def close(self) -> None:
        """Stop, finishing what is in hand."""


Build = Callable[[Readiness], list[Part]]
"""A service's wiring: makes its parts in the order they are to be opened, and adds its readiness checks."""


def run(
    service: str, build: Build, *, ops_bind: str, log_level: str, exposition: ops.Exposition = ops.own_metrics
) -> None:
    """Run a service until SIGTERM or SIGINT; returns when everything is closed. `exposition` makes what `/metrics`
    shows."""
    telemetry.start(service, level=log_level)
    uvloop.run(_run(build, ops_bind, exposition))
    telemetry.stop()


async def _run(build: Build, ops_bind: str, exposition: ops.Exposition) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    readiness = Readiness()
    opened: list[Part] = []
    starting = True

    async def started() -> None:
        if starting:
            raise RuntimeError("starting")

    readiness.add("startup", started)
    watch = LoopWatch()
    watch.start()
    server = await ops.serve(ops_bind, readiness, exposition)
    parts = build(readiness)
    try:
        for part in parts:
            if not await _unless(stopping, part.open()):
                break
            opened.append(part)
        else:
            starting = False
            _settle()
            log.info("ready")
            await stopping.wait()
    finally:
        readiness.draining = True
        log.info("stopping")
        for part in reversed(opened):
            await part.close()
        await server.cleanup()
        watch.stop()


def _settle() -> None:
    """What is there now stays until the end: the garbage collector need not stop the process to look at it again."""
    gc.collect()
    gc.freeze()


async def _unless(stopping: asyncio.Event, opening: Awaitable[None]) -> bool:
    """Await `opening`, but give up when told to stop; returns whether it finished."""
    task = asyncio.ensure_future(opening)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    return False
