"""Many executions one after the other and at once, and what is left behind after them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from deploy.local import Stack
from tests.support.api import Api
from tests.support.leftovers import FORK_SERVER, Leftovers, Traces

SPARE_DESCRIPTORS = 10
"""Connections that a service's pools open when they are first needed; the fork server has none."""

CELLS = [
    "import numpy as np, pandas as pd\nframe = pd.DataFrame({'a': np.arange(1000)})",
    "open('left.txt', 'w').write('x' * 10_000)\nprint(frame.a.sum())",
    "import subprocess; subprocess.Popen(['sleep', '600'])",
]
"""What each execution does: libraries, a file, a process that would outlive it."""

END_S = 3600.0
"""How long one execution may take at the most, the wait for its turn included, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What is there when nothing runs."""

    traces: Traces
    work_files: int
    descriptors: dict[str, int]
    memory: dict[str, int]


def lost(before: Snapshot, after: Snapshot) -> list[str]:
    """What is there more of than before, in words; `settle` has seen to processes, folders and control groups."""
    found = []
    if after.work_files > before.work_files:
        found.append(f"{after.work_files - before.work_files} files more in the worker's folder")
    for name, count in after.descriptors.items():
        spare = 0 if name == FORK_SERVER else SPARE_DESCRIPTORS
        if count > before.descriptors[name] + spare:
            found.append(f"{name} has {count} descriptors, before {before.descriptors[name]}")
    return found


class Soak:
    """Runs executions on a stack of its own."""

    def __init__(self, stack: Stack, caller: Api, *, slots: int) -> None:
        self._caller = caller
        self._slots = slots
        self._leftovers = Leftovers(stack)

    async def run(self, *, sequential: int, concurrent: int) -> None:
        """So many one after the other, then so many accepted at once; each must complete."""
        # Connections of its own, which end with it: open ones of this client are descriptors of the gateway.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            caller = self._caller
            api = Api(caller.base, session, tenant=caller.tenant, project=caller.project, key=caller.key)
            notebook = await api.create(*CELLS)
            for _ in range(sequential):
                await _one(api, notebook)
            await asyncio.gather(*(_one(api, notebook) for _ in range(concurrent)))

    async def settle(self) -> Snapshot:
        """Wait until nothing but ready kernels is left, then look; fails when something else stays."""
        await self._leftovers.hung_up()
        await self._leftovers.gone(kernels=self._slots)
        return Snapshot(
            traces=await asyncio.to_thread(self._leftovers.traces),
            work_files=await asyncio.to_thread(self._leftovers.work_files),
            descriptors=self._leftovers.descriptors(),
            memory=await asyncio.to_thread(self._leftovers.memory),
        )


async def _one(api: Api, notebook: dict[str, Any]) -> None:
    execution = await api.start(notebook["notebookId"])
    # The last of many that are accepted at once waits for all others.
    ended = await api.wait(notebook["notebookId"], execution["executionId"], timeout_s=END_S)
    assert (ended["status"], ended["errorMessage"]) == ("Completed", None)
