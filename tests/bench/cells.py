"""Single runs: from `POST execute` to `Completed` visible at the API, against the papermill command."""

from __future__ import annotations

import statistics
import time

from tests.bench.notebooks import DATA_SCIENCE, HUNDRED_CELLS, ONE_LINE
from tests.bench.rows import Row, Sides
from tests.support.api import Api
from tests.support.recorder import TERMINAL
from tests.support.runs import address

NOTEBOOKS = (
    ("one line", ONE_LINE, 10.0),
    ("pandas + scikit-learn + matplotlib", DATA_SCIENCE, 12.0),
    ("100 cells, every event", HUNDRED_CELLS, 5.0),
)
"""Name, cells, and how many times faster than papermill we promise to be (DESIGN.md: Speed targets)."""


async def follow(api: Api, path: str) -> list[int]:
    """Listen to a run's events until the last one; their numbers."""
    numbers: list[int] = []
    url = api.url(f"{path}/events")
    async with api.session.get(url, headers=api.headers) as response:
        response.raise_for_status()
        async for line in response.content:
            name, _, value = line.decode().rstrip().partition(": ")
            if name == "id":
                numbers.append(int(value))
            elif name == "event" and value in TERMINAL:
                break
    return numbers


async def ours(api: Api, notebook_id: str, *, events_at_least: int) -> float:
    """Seconds from `POST execute` to `Completed` visible at the API. The client follows the run's events, which must
    all come, in order; that they are kept as well is looked up when the clock has stopped."""
    began = time.perf_counter()
    execution = await api.start(notebook_id)
    heard = await follow(api, address(execution))
    _, status, _ = await api.get(address(execution))
    seconds = time.perf_counter() - began
    if status["status"] != "Completed":
        raise RuntimeError(f"{status['status']}: {status['errorMessage']}")
    kept = await follow(api, address(execution))
    if heard != list(range(1, len(heard) + 1)) or kept != heard or len(heard) < events_at_least:
        raise RuntimeError(f"heard the events {heard}, kept are {kept}, at least {events_at_least} were to come")
    return seconds


async def rows(sides: Sides) -> list[Row]:
    """Medians of both sides, interleaved, after one warm-up of each."""
    found = []
    for name, cells, bar in NOTEBOOKS:
        notebook = await sides.api.create(*cells)
        mine, theirs = [], []
        for turn in range(sides.repeats + 1):
            here = await ours(sides.api, notebook["notebookId"], events_at_least=2 * len(cells) + 2)
            there = await sides.peer.run(cells)
            if turn:
                mine.append(here)
                theirs.append(there)
        a, b = statistics.median(mine), statistics.median(theirs)
        details = {"ours_s": [round(s, 4) for s in mine], "papermill_s": [round(s, 4) for s in theirs]}
        row = Row(name=name, ours=f"{a:.3f} s", theirs=f"{b:.3f} s", figure=b / a, unit="x", bar=bar, details=details)
        found.append(row)
    return found
