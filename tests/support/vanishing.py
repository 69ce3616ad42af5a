"""Kernels of every kind at work, and how soon all of their processes are gone once their worker is killed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psutil

from deploy.local import Stack
from tests.support.api import Api
from tests.support.runs import until

START_S = 300.0
"""How long a run may take to its cell: Scala's kernel, on a busy machine, in seconds."""

EXTRA_PACKAGE = "humanize==4.9.0"
"""Small, from the package index, and not in the base environment."""

MARK = "atelier-child"
"""What the kernels' own child processes call themselves."""

CHILD = f"exec -a {MARK} sleep 600"

NOTEBOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "forked": (f"import subprocess, time\nsubprocess.Popen(['bash', '-c', {CHILD!r}])\ntime.sleep(600)", {}),
    "environment": (
        f"import subprocess, time\nsubprocess.Popen(['bash', '-c', {CHILD!r}])\ntime.sleep(600)",
        {"environment": {"packages": [EXTRA_PACKAGE]}},
    ),
    "r": (f"system2('bash', c('-c', shQuote('{CHILD}')), wait = FALSE)\nSys.sleep(600)", {"kernelType": "r"}),
    "scala": (
        f'new ProcessBuilder("bash", "-c", "{CHILD}").start()\nThread.sleep(600000)',
        {"kernelType": "scala"},
    ),
}
"""A kind of kernel, what it does, and what else its notebook says."""


async def at_work(stack: Stack, api: Api, kinds: list[str]) -> tuple[list[dict[str, Any]], list[psutil.Process]]:
    """The runs, each in its cell with a child of its own, and all processes below the worker."""
    runs = []
    for kind in kinds:
        source, members = NOTEBOOKS[kind]
        notebook = await api.create(source, **members)
        runs.append(await api.start(notebook["notebookId"]))
    for run in runs:
        await until(api, run, timeout_s=START_S, phase="ExecutingCells")
    async with asyncio.timeout(START_S):
        while sum(_is_child_of_a_kernel(process) for process in living(below(stack))) < len(kinds):
            await asyncio.sleep(0.05)
    return runs, below(stack)


def below(stack: Stack) -> list[psutil.Process]:
    """Every process that the worker or one of its children started."""
    return psutil.Process(stack.worker.pid).children(recursive=True)


def _is_child_of_a_kernel(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] == [MARK]
    except psutil.NoSuchProcess:  # it has just ended
        return False


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run. One that waits for its parent to hear of its end does not, nor does one without memory:
    the first process of a namespace ends with the last, which process 1 of the machine must take note of."""
    return [process for process in processes if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE and process.memory_info().rss > 0
    except psutil.NoSuchProcess:
        return False


async def kill_worker(stack: Stack, processes: list[psutil.Process], *, within_s: float) -> float:
    """Kill the worker alone; seconds until all of `processes` are gone. Fails with those that stay."""
    worker = psutil.Process(stack.worker.pid)
    began = time.perf_counter()
    worker.kill()
    while left := living([worker, *processes]):
        if time.perf_counter() - began > within_s:
            raise AssertionError(f"still there {within_s:.0f} s after their worker: {left}")
        await asyncio.sleep(0.005)
    return time.perf_counter() - began
