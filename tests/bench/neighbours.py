"""A run's time beside one that takes all it can, over its usual time: for each kind of hog, interleaved.

Its usual time is what it takes while the other processors have work too, here loops that give way to everything:
processors share caches, clock and often a core, which no control group shares out. How much that is on this machine is
a row of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from tests.bench.promise import Promise, promise
from tests.support.api import Api
from tests.support.runs import address, until

NEIGHBOUR = 1.25
"""How many times its usual time a run may take beside a hog, where control groups share out the processors."""

WORK = "total = 0\nfor n in range(10_000_000): total += n * n\nprint(total)"
"""About a second of one processor."""

SAYS = f"{sum(n * n for n in range(10_000_000))}\n"

PROCESSES = "import os\nfor _ in range(15):\n    if os.fork() == 0: break\nwhile True: pass"

FORKS = """
import os, time
for _ in range(2_000):
    try:
        if os.fork() == 0:
            while True: pass
    except OSError:
        time.sleep(0.01)  # as many as there may be
while True: pass
"""
"""Bounded, so that a hole in the sandbox cannot take the machine down."""

MEMORY = """
while True:
    hog = [bytearray(16_000_000) for _ in range(64)]
    for block in hog: block[::4096] = bytes(len(block[::4096]))
"""
"""A gigabyte, written and given back again and again: one that went over its limit would soon be gone."""

DISK = """
import os
while True:
    with open('big', 'wb') as file:
        for _ in range(32):
            file.write(os.urandom(1_000_000) * 16)
            file.flush()
    os.unlink('big')
"""

OUTPUT = "while True: print('x' * 1_000)"
UPDATES = """
from IPython.display import display
shown = display('x', display_id=True)
while True: shown.update('y' * 1_000)
"""
RUN_S = 600.0
"""When a hog is given up, in seconds."""

FLOODS = 200
"""Cells that flood: each is stopped at its limit, and the next begins, up to the limit of the run."""

LOOP = "import os\nos.nice(19)\nwhile True: pass"

HOGS: dict[str, list[str]] = {
    "processes": [PROCESSES],
    "a fork bomb": [FORKS],
    "a memory hog": [MEMORY],
    "a disk filler": [DISK],
    "a flood of output": [OUTPUT] * FLOODS,
    "a flood of updates": [UPDATES] * FLOODS,
}


async def beside_hogs(api: Api, other: Api, repeats: int) -> list[Promise]:
    """A row for the machine and one a hog: the median of the ratios, each of two runs one right after the other."""
    work = await api.create(WORK)
    await run_seconds(api, work)
    own = partial(_own_ratio, api, work)
    rows = [await promise("a run beside loops that give way", own, repeats, bar=None, unit="x", by_median=True)]
    for name, cells in HOGS.items():
        measure = partial(_ratio, api, other, work, await other.create(*cells))
        rows.append(await promise(f"a run beside {name}", measure, repeats, bar=NEIGHBOUR, unit="x", by_median=True))
    return rows


async def _own_ratio(api: Api, work: dict[str, Any]) -> float:
    alone = await run_seconds(api, work)
    return await _usual_seconds(api, work) / alone


async def _ratio(api: Api, other: Api, work: dict[str, Any], hog: dict[str, Any]) -> float:
    usual = await _usual_seconds(api, work)
    async with _hogging(other, hog):
        beside = await run_seconds(api, work)
    return beside / usual


async def _usual_seconds(api: Api, work: dict[str, Any]) -> float:
    with _busy_processors(len(os.sched_getaffinity(0)) - 1):
        return await run_seconds(api, work)


@contextlib.contextmanager
def _busy_processors(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextlib.asynccontextmanager
async def _hogging(api: Api, hog: dict[str, Any]) -> AsyncIterator[None]:
    """Has the hog run all the while: one that comes to an end of its own begins again."""
    asked = {"errorPolicy": "continue"}
    running = await api.start(hog["notebookId"], asked)
    stopping = False

    async def go_on() -> None:
        nonlocal running
        while not stopping:
            await api.wait(hog["notebookId"], running["executionId"], RUN_S)
            if not stopping:
                running = await api.start(hog["notebookId"], asked)

    going = asyncio.create_task(go_on())
    try:
        await until(api, running, phase="ExecutingCells")
        yield
    finally:
        stopping = True
        await _end(api, running)
        await going
        await _end(api, running)


async def _end(api: Api, execution: dict[str, Any]) -> None:
    await api.post(f"{address(execution)}/cancel")
    await api.wait(execution["notebookId"], execution["executionId"])


async def run_seconds(api: Api, notebook: dict[str, Any]) -> float:
    """From the call to execute until the run's end is seen, with its right result."""
    began = time.perf_counter()
    ended = await api.run(notebook["notebookId"])
    seconds = time.perf_counter() - began
    if ended["status"] != "Completed":
        raise RuntimeError(f"{ended['errorType']}: {ended['errorMessage']}")
    (output,) = (await api.results(ended))["outputs"]
    if output["content"] != SAYS:
        raise RuntimeError(f"a wrong result: {output['content']}")
    return seconds
