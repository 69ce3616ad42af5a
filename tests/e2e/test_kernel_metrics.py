"""What the worker's metrics tell of kernels: hits of the pool, the time until one is ready, the pool, a run's CPU."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import Stack
from tests.support.api import Api

BURN = """
import time
while time.process_time() < {seconds}:
    pass
"""

PATIENCE_S = 60.0
"""How long the pool may take to fill again on a busy machine, in seconds."""

TICK_S = 0.02
"""What may be missing of a process's time where the operating system counts in ticks of 10 ms, user and system."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(stack: Stack, http: aiohttp.ClientSession) -> Samples:
    """The worker's samples by name and labels."""
    async with http.get(f"{stack.worker.ops_url}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample; 0 before anything was counted."""
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


async def filled(stack: Stack, http: aiohttp.ClientSession) -> Samples:
    """The samples when as many kernels are ready as there are to be."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            samples = await scrape(stack, http)
            size = value(samples, "atelier_kernel_pool_size", kernel="python3")
            if size and value(samples, "atelier_kernel_pool_ready", kernel="python3") == size:
                return samples
            await asyncio.sleep(0.05)


async def test_a_run_moves_hits_ready_time_pool_and_cpu(stack: Stack, http: aiohttp.ClientSession, api: Api) -> None:
    notebook = await api.create(BURN.format(seconds=0.5))
    before = await filled(stack, http)
    assert value(before, "atelier_kernel_pool_size", kernel="python3") == 3  # as many as the stack has slots
    run = await api.run(notebook["notebookId"])
    assert run["status"] == "Completed", run["errorMessage"]
    after = await scrape(stack, http)

    def moved(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert moved("atelier_kernels_acquired_total", kernel="python3", source="pool") == 1
    assert moved("atelier_kernels_acquired_total", kernel="python3", source="fork") == 0
    assert moved("atelier_kernel_acquire_seconds_count", kernel="python3") == 1
    assert moved("atelier_kernel_acquire_seconds_bucket", kernel="python3", le="+Inf") == 1
    assert moved("atelier_kernel_cpu_seconds_count", kernel="python3") == 1
    cpu: float = run["resources"]["cpuTimeSeconds"]
    assert cpu > 0.5
    assert abs(moved("atelier_kernel_cpu_seconds_sum", kernel="python3") - cpu) < 0.01
    refilled = await filled(stack, http)
    assert value(refilled, "atelier_kernel_start_seconds_count", kernel="python3") > value(
        before, "atelier_kernel_start_seconds_count", kernel="python3"
    )


async def test_kernels_that_wait_for_a_run_are_no_runs(stack: Stack, http: aiohttp.ClientSession, api: Api) -> None:
    """What the pool makes and gives up again counts as started, and as nobody's processor time."""
    before = await filled(stack, http)
    server = psutil.Process(stack.worker.pid).children()[0]
    server.kill()  # and with it every kernel that waits
    psutil.wait_procs([server], timeout=PATIENCE_S)
    started = "atelier_kernel_start_seconds_count"
    async with asyncio.timeout(PATIENCE_S):
        while value(after := await filled(stack, http), started, kernel="python3") < 3 + value(
            before, started, kernel="python3"
        ):
            await asyncio.sleep(0.05)
    used = "atelier_kernel_cpu_seconds_count"
    assert value(after, used, kernel="python3") == value(before, used, kernel="python3")
    assert (await api.run((await api.create("print(1)"))["notebookId"]))["status"] == "Completed"


@pytest.mark.parametrize("controlled", ["plain"], indirect=True, scope="package")
async def test_plain_kernels_are_counted_by_their_source(controlled: Any, tenant: Api) -> None:
    burnt = 0.3
    run = await tenant.run((await tenant.create(BURN.format(seconds=burnt)))["notebookId"])
    assert run["status"] == "Completed", run["errorMessage"]
    samples = await scrape(controlled.stack, tenant.session)
    runs = value(samples, "atelier_kernels_acquired_total", kernel="python3", source="plain")
    assert runs >= 1
    assert value(samples, "atelier_kernel_acquire_seconds_count", kernel="python3") == runs
    assert value(samples, "atelier_kernel_cpu_seconds_count", kernel="python3") >= 1
    # The kernel's own clock is finer than the ticks in which /proc counts.
    assert value(samples, "atelier_kernel_cpu_seconds_sum", kernel="python3") > burnt - TICK_S
