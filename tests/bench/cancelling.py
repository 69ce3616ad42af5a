"""How soon a cancelled run is seen to have ended, in each phase, with kernels in their sandbox and of every kind."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from deploy.local import Stack
from tests.bench.promise import Promise, promise
from tests.support.api import Api
from tests.support.runs import address, until
from tests.support.standstill import NEVER_READY, frozen, library_never_ready
from tests.support.vanishing import EXTRA_PACKAGE

PROMPT_S, STUBBORN_S = 2.0, 5.0
"""How long a cancellation may take until its end is seen, and that of a cell that ignores interrupts, in seconds."""

START_S = 300.0
"""How long a run may take to its first cell: Scala's kernel, on a busy machine, in seconds."""

SLOTS = 4
"""Runs at a time on the stack that is measured."""

SLEEPER = "import time; time.sleep(600)"
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
SPARK_JOB = 'spark.range(1000000000000L).selectExpr("sum(sqrt(id))").show()'

INTO_CELL_S = 0.3
"""How long after its beginning a cell is cancelled, in seconds."""

INTO_JOB_S = 3.0
"""The same for a Spark job, which is compiled first."""


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


async def queued(_stack: Stack, api: Api) -> float:
    """While all slots are taken."""
    notebook = await api.create(SLEEPER)
    running = [await api.start(notebook["notebookId"]) for _ in range(SLOTS)]
    for execution in running:
        await until(api, execution, phase="ExecutingCells")
    seconds = await cancelling(api, await api.start(notebook["notebookId"]))
    for execution in running:
        await cancelling(api, execution)
    return seconds


async def fetching(stack: Stack, api: Api) -> float:
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


async def starting_environment(_stack: Stack, api: Api) -> float:
    """While the interpreter of a built environment hangs in its first line."""
    name, wheel = library_never_ready()
    form = aiohttp.FormData()
    form.add_field("file", wheel, filename=name)
    code, answer, _ = await api.post("library", data=form)
    if code != 201:
        raise RuntimeError(f"not stored: {answer}")
    notebook = await api.create("print(1)", environment={"customLibraries": [NEVER_READY]})
    execution = await api.start(notebook["notebookId"])
    await until(api, execution, timeout_s=START_S, phase="StartingKernel")
    await asyncio.sleep(INTO_CELL_S)
    return await cancelling(api, execution)


def cell(source: str, *, after_s: float = INTO_CELL_S, **members: Any) -> Callable[[Stack, Api], Awaitable[float]]:
    """While that cell runs."""

    async def measure(_stack: Stack, api: Api) -> float:
        notebook = await api.create("1", source, **members)
        execution = await api.start(notebook["notebookId"])
        await until(api, execution, timeout_s=START_S, currentCell=notebook["cells"][1]["cellId"])
        await asyncio.sleep(after_s)
        return await cancelling(api, execution)

    return measure


async def collecting(stack: Stack, api: Api) -> float:
    """While its results are stored by a service that does not answer."""
    notebook = await api.create("import time; time.sleep(1)", "print('x' * 200_000)")
    execution = await api.start(notebook["notebookId"])
    await until(api, execution, phase="ExecutingCells")
    with frozen(stack.artifacts):
        await until(api, execution, phase="CollectingResults")
        return await cancelling(api, execution)


CANCELLING: dict[str, tuple[Callable[[Stack, Api], Awaitable[float]], float]] = {
    "cancel in Queued": (queued, PROMPT_S),
    "cancel in PreparingEnvironment, dataset": (fetching, PROMPT_S),
    "cancel in StartingKernel, built environment": (starting_environment, PROMPT_S),
    "cancel in ExecutingCells": (cell(SLEEPER), PROMPT_S),
    "cancel in ExecutingCells, built environment": (cell(SLEEPER, environment={"packages": [EXTRA_PACKAGE]}), PROMPT_S),
    "cancel in ExecutingCells, interrupts ignored": (cell(STUBBORN), STUBBORN_S),
    "cancel in CollectingResults": (collecting, PROMPT_S),
}

OF_LANGUAGES: dict[str, dict[str, tuple[Callable[[Stack, Api], Awaitable[float]], float]]] = {
    "r": {
        "cancel in ExecutingCells, R": (cell("Sys.sleep(600)", kernelType="r"), PROMPT_S),
        "cancel in ExecutingCells, R in a loop": (cell("while (TRUE) {}", kernelType="r"), PROMPT_S),
    },
    "scala": {
        "cancel in ExecutingCells, Scala": (cell("Thread.sleep(600000)", kernelType="scala"), STUBBORN_S),
        "cancel in ExecutingCells, Spark job": (cell(SPARK_JOB, after_s=INTO_JOB_S, kernelType="scala"), STUBBORN_S),
    },
}


async def cancellations(stack: Stack, api: Api, repeats: int, languages: list[str]) -> list[Promise]:
    """A row a phase and kind of kernel, but for those of `standing_still`."""
    measures = CANCELLING | {name: row for language in languages for name, row in OF_LANGUAGES[language].items()}
    return [
        await promise(name, partial(measure, stack, api), repeats, bar=bar) for name, (measure, bar) in measures.items()
    ]


async def standing_still(hold: Path, api: Api, repeats: int) -> list[Promise]:
    """On a stack whose forked kernels can be held up, and whose builds never end."""

    async def starting() -> float:
        notebook = await api.create("print(1)")
        hold.touch()
        try:
            execution = await api.start(notebook["notebookId"])
            await until(api, execution, phase="StartingKernel")
            await asyncio.sleep(INTO_CELL_S)
            return await cancelling(api, execution)
        finally:
            hold.unlink()

    async def building() -> float:
        notebook = await api.create("print(1)", environment={"packages": [EXTRA_PACKAGE]})
        execution = await api.start(notebook["notebookId"])
        await until(api, execution, phase="PreparingEnvironment")
        await asyncio.sleep(INTO_CELL_S)
        return await cancelling(api, execution)

    return [
        await promise("cancel in StartingKernel, forked", starting, repeats, bar=PROMPT_S),
        await promise("cancel in PreparingEnvironment, build", building, repeats, bar=PROMPT_S),
    ]
