"""Processes that stand still for longer than a lease and go on: no run is begun again for nothing, and none is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import psutil
import pytest

from deploy.local import Stack
from tests.faults.conftest import SHORT_LEASES
from tests.support.api import Api

LEASE_S = float(SHORT_LEASES["ATELIER_LEASE_S"])
REACHED_S = 60.0


@contextmanager
def standing_still(pid: int, *, with_children: bool) -> Iterator[None]:
    """Keep a process from running, as a machine that is paused or swaps does."""
    process = psutil.Process(pid)
    family = [process, *(process.children(recursive=True) if with_children else [])]
    for member in family:
        member.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for member in reversed(family):
            if member.is_running():
                member.send_signal(signal.SIGCONT)


async def state(connection: asyncpg.Connection, execution_id: str) -> tuple[str, int]:
    """State and number of attempts."""
    row = await connection.fetchrow(
        "SELECT state, attempt FROM executor.execution WHERE execution_id = $1", execution_id
    )
    return row["state"], row["attempt"]


async def reach(connection: asyncpg.Connection, execution_id: str, *states: str) -> None:
    async with asyncio.timeout(REACHED_S):
        while (await state(connection, execution_id))[0] not in states:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("leases", [1.2, 1.7])
async def test_a_database_that_stands_still_takes_no_run_from_its_worker(
    fault_stack: Stack, fault_api: Api, connection: asyncpg.Connection, leases: float
) -> None:
    notebook = await fault_api.create("import time", f"time.sleep({LEASE_S * leases + 4})", "print('done')")
    execution = await fault_api.start(notebook["notebookId"])
    await reach(connection, execution["executionId"], "Running")
    postgres = fault_stack["postgres"].pid
    assert postgres is not None
    with standing_still(postgres, with_children=True):
        await asyncio.sleep(LEASE_S * leases)
    ended = await fault_api.wait(notebook["notebookId"], execution["executionId"])
    assert (ended["status"], ended["errorMessage"]) == ("Completed", None)
    assert await state(connection, execution["executionId"]) == ("Completed", 1)


async def test_a_worker_that_stood_still_runs_what_was_taken_from_it_once_more_and_no_oftener(
    fault_stack: Stack, fault_api: Api, connection: asyncpg.Connection
) -> None:
    # Its slot goes on meanwhile: the run must not end before it is taken away.
    notebook = await fault_api.create("import time", f"time.sleep({3 * LEASE_S})", "print('done')")
    execution = await fault_api.start(notebook["notebookId"])
    await reach(connection, execution["executionId"], "Running")
    worker = fault_stack.worker.pid
    assert worker is not None
    with standing_still(worker, with_children=False):
        await reach(connection, execution["executionId"], "Queued")
    ended = await fault_api.wait(notebook["notebookId"], execution["executionId"])
    assert (ended["status"], ended["errorMessage"]) == ("Completed", None)
    assert await state(connection, execution["executionId"]) == ("Completed", 2)
    results = await fault_api.results(ended)
    assert [output["content"] for output in results["outputs"]] == ["done\n"]
