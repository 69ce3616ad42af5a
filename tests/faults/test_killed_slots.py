"""Processes of a worker that are killed or stand still: it costs the run in their hands, and no other."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import psutil
import pytest

from deploy.local import Stack
from tests.support.api import Api

REACHED_S = 60.0
RUNS_FOR_S = 6

CELL = f"""
import os, time
print(os.environ["ATELIER_RUN_DIR"].split("/")[-2], flush=True)
for second in range({RUNS_FOR_S * 10}):
    time.sleep(0.1)
"""
"""Tells the number of its slot, in which its kernel was made ready, and goes on for a while."""


def processes(stack: Stack) -> dict[str, psutil.Process]:
    """The worker's processes by their names."""
    worker = psutil.Process(stack["worker"].pid)
    return {child.name(): child for child in worker.children(recursive=True)}


async def begun(api: Api, notebook: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A run that has begun, and the name of its slot's process."""
    execution = await api.start(notebook["notebookId"])
    path = f"notebook/{notebook['notebookId']}/execution/{execution['executionId']}/notebook"
    async with asyncio.timeout(REACHED_S):
        while True:
            status, found, _ = await api.get(path)
            outputs = [output for cell in found.get("cells", []) for output in cell["outputs"]] if status == 200 else []
            if outputs:
                return execution, f"slot-{int(''.join(outputs[0]['text']), 16)}"
            await asyncio.sleep(0.1)


async def end(api: Api, execution: dict[str, Any]) -> tuple[str, str | None, int]:
    """State, error type and attempt at a run's end."""
    ended = await api.wait(execution["notebookId"], execution["executionId"], timeout_s=REACHED_S)
    return ended["status"], ended["errorType"], ended["attempt"]


async def replaced(stack: Stack, gone: str) -> None:
    """Return when there are as many slots as before, without the one that is gone."""
    async with asyncio.timeout(REACHED_S):
        while True:
            names = [name for name in processes(stack) if name.startswith("slot-")]
            if gone not in names and len(names) == 4:
                return
            await asyncio.sleep(0.1)


async def test_a_killed_slot_costs_its_run_an_attempt_and_others_nothing(fault_stack: Stack, fault_api: Api) -> None:
    notebook = await fault_api.create(CELL)
    victim, slot = await begun(fault_api, notebook)
    other, _ = await begun(fault_api, notebook)
    processes(fault_stack)[slot].kill()
    assert await end(fault_api, other) == ("Completed", None, 1)
    assert await end(fault_api, victim) == ("Completed", None, 2)
    await replaced(fault_stack, slot)


async def test_a_slot_that_stands_still_ends_its_run_alone(fault_stack: Stack, fault_api: Api) -> None:
    notebook = await fault_api.create(CELL)
    victim, slot = await begun(fault_api, notebook)
    other, _ = await begun(fault_api, notebook)
    processes(fault_stack)[slot].send_signal(signal.SIGSTOP)
    assert await end(fault_api, other) == ("Completed", None, 1)
    assert await end(fault_api, victim) == ("Error", "InternalError", 1)
    await replaced(fault_stack, slot)


async def test_without_the_template_all_runs_begin_anew(fault_stack: Stack, fault_api: Api) -> None:
    notebook = await fault_api.create(CELL)
    runs = [await begun(fault_api, notebook) for _ in range(2)]
    slots = processes(fault_stack)
    template = slots[runs[0][1]].parent()
    assert template is not None
    template.kill()
    assert [await end(fault_api, run) for run, _ in runs] == [("Completed", None, 2)] * 2
    await replaced(fault_stack, runs[0][1])


@pytest.mark.parametrize("delay_s", [0.0, 1.0])
async def test_a_run_that_waits_for_a_kernel_gets_one_of_the_next_process(
    fault_stack: Stack, fault_api: Api, delay_s: float
) -> None:
    notebook = await fault_api.create('cat("done")', kernelType="r")
    execution = await fault_api.start(notebook["notebookId"])
    await asyncio.sleep(delay_s)
    pools = [process for name, process in processes(fault_stack).items() if name.startswith("pools-")]
    pools[0].kill()
    assert await end(fault_api, execution) == ("Completed", None, 1)
