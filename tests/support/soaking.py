"""Many executions one after the other and at once, and what is left behind after them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from deploy.local import Stack
from tests.support.api import Api, asks_again
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

RETRY_S = 1.0
"""Pause after an answer that asks for one, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What is there when nothing runs."""

    traces: Traces
    work_files: int
    descriptors: dict[str, int]
    sockets: dict[str, int]
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
    for name, count in after.sockets.items():
        if count > before.sockets[name]:
            found.append(f"{name} has {count} local sockets, before {before.sockets[name]}")
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
        return Snapshot(
            traces=await self._leftovers.gone(kernels=self._slots),
            work_files=await asyncio.to_thread(self._leftovers.work_files),
            descriptors=self._leftovers.descriptors(),
            sockets=self._leftovers.sockets(),
            memory=await asyncio.to_thread(self._leftovers.memory),
        )


async def _one(api: Api, notebook: dict[str, Any]) -> None:
    path = f"notebook/{notebook['notebookId']}"
    execution = await _answer(api, "POST", f"{path}/execute", json={})
    # The last of many that are accepted at once waits for all others.
    async with asyncio.timeout(END_S):
        while execution["status"] == "Running":
            execution = await _answer(api, "GET", f"{path}/execution/{execution['executionId']}", params={"wait": "10"})
    assert (execution["status"], execution["errorMessage"]) == ("Completed", None)


async def _answer(api: Api, method: str, path: str, **options: Any) -> dict[str, Any]:
    """What the API answers, when it has come to it: a machine that has too much to do may say 503 for a while."""
    async with asyncio.timeout(END_S):
        while True:
            status, body, _ = await api.call(method, path, **options)
            if not asks_again(status, body):
                assert status in {200, 202}, body
                return dict(body)
            await asyncio.sleep(RETRY_S)
