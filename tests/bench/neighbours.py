"""A run's time beside one that takes all it can, over its time alone: for each kind of hog, interleaved."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from tests.bench.cancelling import cancelling
from tests.bench.promise import Promise, promise
from tests.support.api import Api
from tests.support.runs import until

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
FLOODS = 200
"""Cells that flood: each is stopped at its limit, and the next begins."""

HOGS: dict[str, list[str]] = {
    "processes": [PROCESSES],
    "a fork bomb": [FORKS],
    "a memory hog": [MEMORY],
    "a disk filler": [DISK],
    "a flood of output": [OUTPUT] * FLOODS,
    "a flood of updates": [UPDATES] * FLOODS,
}


async def beside_hogs(api: Api, other: Api, repeats: int) -> list[Promise]:
    """A row a hog: the median of the ratios, each of two runs one right after the other."""
    work = await api.create(WORK)
    await run_seconds(api, work)
    return [
        await promise(
            f"a run beside {name}",
            partial(_ratio, api, other, work, await other.create(*cells)),
            repeats,
            bar=NEIGHBOUR,
            unit="x",
            by_median=True,
        )
        for name, cells in HOGS.items()
    ]


async def _ratio(api: Api, other: Api, work: dict[str, Any], hog: dict[str, Any]) -> float:
    alone = await run_seconds(api, work)
    execution = await other.start(hog["notebookId"], {"errorPolicy": "continue"})
    try:
        await until(other, execution, phase="ExecutingCells")
        beside = await run_seconds(api, work)
        await until(other, execution, phase="ExecutingCells")  # it has hogged all the while
    finally:
        await cancelling(other, execution)
    return beside / alone


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
