"""Many runs: how many one-line executions a second, against papermill with one process a core."""

from __future__ import annotations

import asyncio
import os
import time

from tests.bench.notebooks import ONE_LINE
from tests.bench.rows import Row, Sides
from tests.support.api import Api

POSTING = 4
"""Requests that are on their way at a time."""

LOOK_S = 0.25
"""How often the client looks whether all have ended, in seconds."""

BAR = 8.0


async def ours(api: Api, runs: int) -> float:
    """Seconds from the first `POST execute` until the API shows all `runs` as completed."""
    notebook = await api.create(*ONE_LINE)
    path, left = f"notebook/{notebook['notebookId']}/executions", iter(range(runs))

    async def post() -> None:
        for _ in left:
            await api.start(notebook["notebookId"])

    async def count(status: str) -> int:
        _, page, _ = await api.get(path, params={"status": status, "pageSize": "1"})
        return int(page["totalCount"])

    began = time.perf_counter()
    await asyncio.gather(*(post() for _ in range(POSTING)))
    while await count("Running"):
        await asyncio.sleep(LOOK_S)
    seconds = time.perf_counter() - began
    completed = await count("Completed")
    if completed != runs:
        raise RuntimeError(f"of {runs} runs {completed} completed")
    return seconds


async def rows(sides: Sides) -> list[Row]:
    """Papermill's rate, half of it before and half after ours."""
    cores, half = len(os.sched_getaffinity(0)), max(sides.peer_runs // 2, 1)
    await ours(sides.api, 2 * POSTING)
    before = await sides.peer.many(ONE_LINE, half, at_a_time=cores)
    seconds = await ours(sides.api, sides.runs)
    after = await sides.peer.many(ONE_LINE, half, at_a_time=cores)
    rate, peer_rate = sides.runs / seconds, 2 * half / (before + after)
    return [
        Row(
            name=f"{sides.runs} executions (papermill: {2 * half}, {cores} at a time)",
            ours=f"{rate:.2f}/s",
            theirs=f"{peer_rate:.2f}/s",
            figure=rate / peer_rate,
            unit="x",
            bar=BAR,
            details={"ours_per_s": round(rate, 3), "papermill_per_s": round(peer_rate, 3)},
        )
    ]
