"""What runs and cells are said to have used: time, memory and disk of all their processes, and how it was measured."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from deploy.local import Stack
from tests.support.api import Api

CHILDREN = 3

IDLE = "x = 1"

BURNT_S = 0.5
"""Processor time that each child burns, in seconds."""

BURN = f"""
import multiprocessing, time
fork = multiprocessing.get_context("fork")
def burn():
    began = time.process_time()
    while time.process_time() - began < {BURNT_S}: pass
children = [fork.Process(target=burn) for _ in range({CHILDREN})]
for child in children: child.start()
for child in children: child.join()
"""

HELD_BYTES = 80_000_000
"""What each child holds while the others hold theirs."""

HOLD = f"""
barrier = fork.Barrier({CHILDREN})
def hold():
    held = bytearray({HELD_BYTES})
    held[::4096] = bytes(len(held[::4096]))
    barrier.wait()
children = [fork.Process(target=hold) for _ in range({CHILDREN})]
for child in children: child.start()
for child in children: child.join()
print([child.exitcode for child in children])
"""

WRITTEN_BYTES = 30_000_000

WRITE = f"open('written', 'wb').write(bytes({WRITTEN_BYTES}))"

SLACK = 1.1
"""Files take whole blocks, and what a process burns is seen in ticks."""


@pytest.fixture(scope="module")
async def run(api: Api) -> dict[str, Any]:
    """All cells, ended well."""
    notebook = await api.create(IDLE, BURN, HOLD, WRITE, "import os; os.unlink('written')", IDLE)
    ended = await api.run(notebook["notebookId"])
    assert ended["status"] == "Completed", ended["errorMessage"]
    assert "[0, 0, 0]" in str((await api.results(ended))["outputs"])
    return ended


@pytest.fixture(scope="module")
async def method(stack: Stack, http: aiohttp.ClientSession) -> str:
    """How this machine lets the worker measure: it says so itself."""
    async with http.get(f"{stack.worker.ops_url}/readyz") as response:
        layers = (await response.json())["checks"]["kernels"]["layers"]
    return "cgroup" if layers["cgroups"]["ok"] else "wait4"


def used(run: dict[str, Any], index: int) -> dict[str, Any]:
    found: dict[str, Any] = run["cellResults"][index]["resources"]
    return found


async def test_the_method_is_that_of_the_machine(run: dict[str, Any], method: str) -> None:
    assert run["resources"]["method"] == method
    assert {used(run, index)["method"] for index in range(6)} == {"cgroup" if method == "cgroup" else "proc"}


async def test_processor_time_of_child_processes_counts(run: dict[str, Any]) -> None:
    burnt = CHILDREN * BURNT_S
    assert used(run, 1)["cpuTimeSeconds"] >= burnt / SLACK
    assert used(run, 0)["cpuTimeSeconds"] < BURNT_S
    assert used(run, 5)["cpuTimeSeconds"] < BURNT_S
    cells = sum(used(run, index)["cpuTimeSeconds"] for index in range(6))
    assert run["resources"]["cpuTimeSeconds"] >= cells / SLACK


async def test_memory_of_processes_at_once_is_added_up(run: dict[str, Any], method: str) -> None:
    whole = CHILDREN * HELD_BYTES
    if method == "cgroup":
        assert used(run, 2)["peakMemoryUsageBytes"] >= whole
        assert used(run, 2)["peakMemoryUsageBytes"] - used(run, 5)["peakMemoryUsageBytes"] > whole / 2
        assert run["resources"]["peakMemoryUsageBytes"] >= whole
    else:
        assert run["resources"]["peakMemoryUsageBytes"] >= HELD_BYTES
    peaks = [used(run, index)["peakMemoryUsageBytes"] for index in range(6)]
    assert run["resources"]["peakMemoryUsageBytes"] >= max(peaks)


async def test_what_a_cell_writes_counts_for_it_and_stays_the_runs_highest(run: dict[str, Any]) -> None:
    assert WRITTEN_BYTES <= used(run, 3)["diskUsageBytes"] < WRITTEN_BYTES * SLACK
    assert [used(run, index)["diskUsageBytes"] < WRITTEN_BYTES / 10 for index in (0, 1, 2, 4, 5)] == [True] * 5
    assert WRITTEN_BYTES <= run["resources"]["diskUsageBytes"] < WRITTEN_BYTES * SLACK


async def test_words_stand_beside_the_numbers(run: dict[str, Any]) -> None:
    said = run["resources"]
    assert said["diskUsage"].endswith(" MB")
    assert said["peakMemoryUsage"].endswith((" MB", " GB"))
    assert "second" in said["cpuTime"]


@pytest.mark.parametrize("controlled", ["plain"], indirect=True, scope="package")
async def test_plain_kernels_say_what_proc_tells(tenant: Api) -> None:
    run = await tenant.run((await tenant.create(BURN, WRITE))["notebookId"])
    assert run["status"] == "Completed", run["errorMessage"]
    assert run["resources"]["method"] == "proc"
    assert used(run, 0)["cpuTimeSeconds"] >= CHILDREN * BURNT_S / SLACK
    assert run["resources"]["cpuTimeSeconds"] >= CHILDREN * BURNT_S / SLACK
    assert WRITTEN_BYTES <= used(run, 1)["diskUsageBytes"] < WRITTEN_BYTES * SLACK
