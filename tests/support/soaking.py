"""Many executions one after the other and at once, and what is left behind after them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from deploy.local import Stack
from tests.support.api import Api
from tests.support.leftovers import Leftovers, Traces

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


class Soak:
    """Runs executions on a stack of its own."""

    def __init__(self, stack: Stack, api: Api, *, slots: int) -> None:
        self._api = api
        self._slots = slots
        self._leftovers = Leftovers(stack)

    async def run(self, *, sequential: int, concurrent: int) -> None:
        """So many one after the other, then so many accepted at once; each must complete."""
        notebook = await self._api.create(*CELLS)
        for _ in range(sequential):
            await self._one(notebook)
        await asyncio.gather(*(self._one(notebook) for _ in range(concurrent)))

    async def settle(self) -> Snapshot:
        """Wait until nothing but ready kernels is left, then look; fails when something else stays."""
        await self._leftovers.gone(kernels=self._slots)
        return Snapshot(
            traces=await asyncio.to_thread(self._leftovers.traces),
            work_files=await asyncio.to_thread(self._leftovers.work_files),
            descriptors=self._leftovers.descriptors(),
            memory=await asyncio.to_thread(self._leftovers.memory),
        )

    async def _one(self, notebook: dict[str, Any]) -> None:
        execution = await self._api.start(notebook["notebookId"])
        # The last of many that are accepted at once waits for all others.
        ended = await self._api.wait(notebook["notebookId"], execution["executionId"], timeout_s=END_S)
        assert (ended["status"], ended["errorMessage"]) == ("Completed", None)
