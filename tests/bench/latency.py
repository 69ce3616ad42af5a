"""From a cell's last statement in the kernel to its event at a subscriber of the bus. The client waits for the end of a
run at the bus as well: asking the API meanwhile would take processor time from what is measured."""

from __future__ import annotations

import asyncio
import statistics
import time

import aio_pika
import orjson
from aio_pika.abc import AbstractIncomingMessage

from shared import topology
from tests.bench.rows import Row, Sides
from tests.support.api import Api
from tests.support.runs import address

CELLS = [f"import time\nprint(time.time_ns(), {number})" for number in range(100)]
"""Each tells when it ended, by the clock that the subscriber looks at too."""

RUNS = 5
"""Runs of CELLS, so that 5 of 500 are slower than the figure."""

BAR_MS = 30.0

END = ""
"""In place of a cell, for the end of a run."""

LOOK_S = 0.02
"""How often it is looked whether a run has ended, in seconds."""

PATIENCE_S = 60.0
"""How long a run's events may take, in seconds."""


async def rows(sides: Sides) -> list[Row]:
    """The 99th percentile over all cells of some runs, cells one right after another."""
    api = sides.api
    notebook = await api.create(*CELLS)
    heard: dict[tuple[str, str], int] = {}

    async def on_event(message: AbstractIncomingMessage) -> None:
        now = time.time_ns()
        data = orjson.loads(message.body)["data"]
        # The end of a run, however it ended, is kept like a cell's that has no name.
        heard[data["executionId"], data.get("cellId", END)] = now

    connection = await aio_pika.connect(sides.stack.amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        for event in ("cell_completed", "completed"):
            await queue.bind(topology.EVENTS, f"execution.{event}.{api.tenant}.#")
        await queue.consume(on_event, no_ack=True)
        executions = []
        for number in range(1, RUNS + 2):
            executions.append(await api.start(notebook["notebookId"]))
            async with asyncio.timeout(PATIENCE_S):
                while len(heard) < number * (len(CELLS) + 1):
                    await asyncio.sleep(LOOK_S)
    delays = [delay for execution in executions[1:] for delay in await _delays(api, execution, heard)]
    p50, p99 = statistics.median(delays), statistics.quantiles(delays, n=100)[98]
    return [
        Row(
            name="cell finished in the kernel → event at a subscriber, p99",
            ours=f"p50 {p50:.1f} ms",
            theirs="-",
            figure=p99,
            unit=" ms",
            bar=BAR_MS,
            at_most=True,
            details={"p50_ms": round(p50, 2), "cells": len(delays)},
        )
    ]


async def _delays(api: Api, execution: dict[str, str], heard: dict[tuple[str, str], int]) -> list[float]:
    """Milliseconds for each cell of a run: what the cell printed against when its event was heard."""
    _, executed, _ = await api.get(f"{address(execution)}/notebook")
    cells = executed if isinstance(executed, dict) else orjson.loads(executed)
    found = []
    for cell in cells["cells"]:
        finished = int("".join(cell["outputs"][0]["text"]).split()[0])
        found.append((heard[execution["executionId"], cell["id"]] - finished) / 1e6)
    return found
