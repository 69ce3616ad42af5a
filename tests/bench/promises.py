"""Promises in seconds, measured: how soon a cancelled run is seen to have ended, in each phase; a second preparation of
an extra package; a neighbour's time beside a hog. `python -m tests.bench.promises` prints them beside their bars.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import Stack
from tests.support.api import Api
from tests.support.runs import address, until
from tests.support.standstill import frozen, interpreter_to_hold_up

PROMPT_S, STUBBORN_S = 2.0, 5.0
"""How long a cancellation may take until its end is seen, and that of a cell that ignores interrupts, in seconds."""

PREPARED_S = 0.2
"""How long the second preparation of an environment may take, in seconds."""

NEIGHBOUR = 1.25
"""How many times its usual time a run may take beside a hog, where control groups share out the processors."""

EXTRA_PACKAGE = "humanize==4.9.0"
"""Small, from the package index, and not in the base environment."""

SLOTS = 2

SLEEPER = "import time; time.sleep(60)"
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
HOG = "import os\nfor _ in range(15):\n    if os.fork() == 0: break\nwhile True: pass"
WORK = "total = 0\nfor n in range(4_000_000): total += n * n\nprint(total)"
"""About half a second of one processor."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One row: the figures of all repeats, and what the largest of them (or their median) may be."""

    name: str
    figures: list[float]
    bar: float
    unit: str = "s"
    by_median: bool = False

    @property
    def figure(self) -> float:
        """What is held against the bar."""
        return statistics.median(self.figures) if self.by_median else max(self.figures)

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.figure <= self.bar


async def cancelling(api: Api, execution: dict[str, Any]) -> float:
    """Seconds from the call to cancel until `Cancelled` is seen."""
    began = time.perf_counter()
    code, answer, _ = await api.post(f"{address(execution)}/cancel")
    if code != 202:
        raise RuntimeError(f"not cancelled: {answer}")
    ended = await api.wait(execution["notebookId"], execution["executionId"])
    if ended["status"] != "Cancelled":
        raise RuntimeError(f"not cancelled: {ended['status']} {ended['errorMessage']}")
    return time.perf_counter() - began


async def cancel_queued(stack: Stack, api: Api) -> float:
    """While all slots are taken."""
    del stack
    notebook = await api.create(SLEEPER)
    running = [await api.start(notebook["notebookId"]) for _ in range(SLOTS)]
    for execution in running:
        await until(api, execution, phase="ExecutingCells")
    seconds = await cancelling(api, await api.start(notebook["notebookId"]))
    for execution in running:
        await cancelling(api, execution)
    return seconds


async def cancel_preparing(stack: Stack, api: Api) -> float:
    """While its dataset is fetched from an object store that does not answer."""
    with tempfile.TemporaryDirectory() as name:
        log = Path(name, "log.csv")
        log.write_text(f"case_id,activity,timestamp\n{uuid4()},begin,2024-01-01T00:00:00Z\n")
        dataset = await api.upload_dataset(log)
    notebook = await api.create("print(1)", integration={"datasetBinding": dataset["datasetId"]})
    with frozen(stack.object_store):
        execution = await api.start(notebook["notebookId"])
        await until(api, execution, phase="PreparingEnvironment")
        return await cancelling(api, execution)


async def _cancel_cell(api: Api, source: str) -> float:
    notebook = await api.create("print(1)", source)
    execution = await api.start(notebook["notebookId"])
    await until(api, execution, currentCell=notebook["cells"][1]["cellId"])
    await asyncio.sleep(0.3)  # into the cell
    return await cancelling(api, execution)


async def cancel_sleeping_cell(stack: Stack, api: Api) -> float:
    """While a cell sleeps."""
    del stack
    return await _cancel_cell(api, SLEEPER)


async def cancel_stubborn_cell(stack: Stack, api: Api) -> float:
    """While a cell ignores interrupts."""
    del stack
    return await _cancel_cell(api, STUBBORN)


async def cancel_collecting(stack: Stack, api: Api) -> float:
    """While its results are stored by a service that does not answer."""
    notebook = await api.create("import time; time.sleep(1)", "print('x' * 200_000)")
    execution = await api.start(notebook["notebookId"])
    await until(api, execution, phase="ExecutingCells")
    with frozen(stack.artifacts):
        await until(api, execution, phase="CollectingResults")
        return await cancelling(api, execution)


CANCELLING: dict[str, tuple[Callable[[Stack, Api], Awaitable[float]], float]] = {
    "cancel in Queued": (cancel_queued, PROMPT_S),
    "cancel in PreparingEnvironment": (cancel_preparing, PROMPT_S),
    "cancel in ExecutingCells": (cancel_sleeping_cell, PROMPT_S),
    "cancel in ExecutingCells, interrupts ignored": (cancel_stubborn_cell, STUBBORN_S),
    "cancel in CollectingResults": (cancel_collecting, PROMPT_S),
}


async def cancellations(stack: Stack, api: Api, repeats: int) -> list[Promise]:
    """A row a phase, but for StartingKernel."""
    return [
        Promise(name=name, figures=[await measure(stack, api) for _ in range(repeats)], bar=bar)
        for name, (measure, bar) in CANCELLING.items()
    ]


async def cancellation_of_a_start(hold: Path, api: Api, repeats: int) -> Promise:
    """On a stack whose kernels can be held up."""
    notebook = await api.create("print(1)")
    figures = []
    for _ in range(repeats):
        hold.touch()
        try:
            execution = await api.start(notebook["notebookId"])
            await until(api, execution, phase="StartingKernel")
            figures.append(await cancelling(api, execution))
        finally:
            hold.unlink()
    return Promise(name="cancel in StartingKernel", figures=figures, bar=PROMPT_S)


async def second_preparation(api: Api, repeats: int) -> Promise:
    """Of an environment with a package that the base one has not; the first one, which builds it, does not count."""
    notebook = await api.create("print(1)", environment={"packages": [EXTRA_PACKAGE]})
    figures = []
    for turn in range(repeats + 1):
        ended = await api.run(notebook["notebookId"])
        code, environment, _ = await api.get(f"{address(ended)}/environment")
        if code != 200 or environment["source"] != "built":
            raise RuntimeError(f"no environment was built: {ended['errorMessage']}")
        if turn:
            figures.append(environment["preparationSeconds"])
    return Promise(name="second preparation of a package", figures=figures, bar=PREPARED_S)


async def neighbours_time(api: Api, other: Api, repeats: int) -> Promise:
    """A run's time beside a hog of many processes, over its time alone; interleaved."""
    work, hog = await api.create(WORK), await other.create(HOG)
    ratios = []
    await api.run(work["notebookId"])
    for _ in range(repeats):
        alone = await _cell_seconds(api, work)
        execution = await other.start(hog["notebookId"])
        await until(other, execution, phase="ExecutingCells")
        beside = await _cell_seconds(api, work)
        await cancelling(other, execution)
        ratios.append(beside / alone)
    return Promise(name="a run beside a hog", figures=ratios, bar=NEIGHBOUR, unit="x", by_median=True)


async def _cell_seconds(api: Api, notebook: dict[str, Any]) -> float:
    ended = await api.run(notebook["notebookId"])
    if ended["status"] != "Completed":
        raise RuntimeError(f"{ended['errorType']}: {ended['errorMessage']}")
    return float(sum(cell["executionTimeSeconds"] for cell in ended["cellResults"]))


async def measure(folder: Path, repeats: int) -> list[Promise]:
    """All rows, on two stacks one after the other."""
    async with aiohttp.ClientSession() as session:
        with Stack(folder / "p", slots=SLOTS) as stack:
            api, other = await Api.of(stack, session), await Api.of(stack, session)
            found = await cancellations(stack, api, repeats)
            found.append(await second_preparation(api, repeats))
            found.append(await neighbours_time(api, other, repeats))
        python, hold = interpreter_to_hold_up(folder)
        # Kernels of that interpreter are plain processes: those of the fork server cannot be held up.
        own = {"worker": {"ATELIER_KERNEL_PYTHON": str(python), "ATELIER_ISOLATION_MINIMUM": "none"}}
        with Stack(folder / "q", slots=SLOTS, service_env=own) as stack:
            found.append(await cancellation_of_a_start(hold, await Api.of(stack, session), repeats))
    return found


def main(
    repeats: int = typer.Option(5, help="how often each is measured"),
    output: Path = typer.Option(Path("promises.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure promises in seconds; each row shows the worst repeat, a run beside a hog the median."""
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        found = asyncio.run(measure(folder, repeats))
    table = Table("promise", "measured", "bar", "verdict")
    for row in found:
        verdict = "met" if row.met else "NOT MET"
        table.add_row(row.name, f"{row.figure:.2f} {row.unit}", f"≤ {row.bar:g} {row.unit}", verdict)
    Console().print(table)
    output.write_text(json.dumps([asdict(row) | {"met": row.met} for row in found], indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
