"""A run can be cancelled in every phase, with forked kernels in their sandbox and with plain ones, and ends once.

How soon is measured by `make promises`; here a cancellation that takes many times longer counts as stuck.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.e2e.conftest import SLOTS, Controlled
from tests.support.api import Api
from tests.support.long import others_are_long
from tests.support.runs import address, counters, status, terminal_events, until
from tests.support.standstill import frozen

KERNELS = ("forked", "plain")

in_both = pytest.mark.parametrize("controlled", KERNELS, indirect=True, scope="package")

usually_forked = pytest.mark.parametrize(
    "controlled", others_are_long(KERNELS, ["forked"]), indirect=True, scope="package"
)
"""For phases that know nothing of the sort of kernel: plain ones are left to the long run."""

STUCK_S = 40.0
"""A cancellation that takes longer is stuck, on a busy machine too, in seconds."""

STUBBORN = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("kept", flush=True)
while True:
    pass
"""


async def cancel(api: Api, execution: dict[str, Any]) -> dict[str, Any]:
    """Cancel and wait for the end; returns the status object then."""
    code, answer, _ = await api.post(f"{address(execution)}/cancel")
    assert code == 202, answer
    ended = await api.wait(execution["notebookId"], execution["executionId"], timeout_s=STUCK_S)
    assert ended["status"] == "Cancelled"
    assert (ended["errorType"], ended["failedCell"], ended["phase"]) == (None, None, None)
    assert ended["progress"]["percentComplete"] < 100
    return ended


async def shown(api: Api, execution: dict[str, Any], text: str) -> None:
    """Wait until a cell has put that out."""
    async with asyncio.timeout(STUCK_S):
        while text not in str((await api.get(f"{address(execution)}/notebook"))[1]):
            await asyncio.sleep(0.05)


async def check_ended_once(api: Api, execution: dict[str, Any], database: asyncpg.Connection) -> None:
    assert await terminal_events(api, execution) == ["execution.cancelled"]
    assert (await status(api, execution))["status"] == "Cancelled"
    assert await counters(database, api) == (0, 0)
    code, notebook, _ = await api.get(f"notebook/{execution['notebookId']}")
    assert (code, notebook["status"]) == (200, "Ready")
    code, _, _ = await api.post(f"{address(execution)}/cancel")
    assert code == 409


@usually_forked
async def test_while_it_waits(tenant: Api, database: asyncpg.Connection) -> None:
    notebook = await tenant.create("import time; time.sleep(60)")
    running = [await tenant.start(notebook["notebookId"]) for _ in range(SLOTS)]
    for execution in running:
        await until(tenant, execution, phase="ExecutingCells")
    waiting = await tenant.start(notebook["notebookId"])
    assert (waiting["phase"], waiting["queuePosition"]) == ("Queued", 1)
    await cancel(tenant, waiting)
    for execution in running:
        await cancel(tenant, execution)
    await check_ended_once(tenant, waiting, database)


@usually_forked
async def test_while_its_dataset_is_fetched(
    controlled: Controlled, tenant: Api, database: asyncpg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    # Content that no run had before: the worker keeps what it has fetched once.
    log.write_text(f"case_id,activity,timestamp\n{uuid4()},begin,2024-01-01T00:00:00Z\n")
    dataset = await tenant.upload_dataset(log)
    notebook = await tenant.create("print(1)", integration={"datasetBinding": dataset["datasetId"]})
    with frozen(controlled.stack.object_store):
        execution = await tenant.start(notebook["notebookId"])
        await until(tenant, execution, phase="PreparingEnvironment")
        ended = await cancel(tenant, execution)
    assert [cell["status"] for cell in ended["cellResults"]] == ["Cancelled"]
    await check_ended_once(tenant, execution, database)
    # The fetch that was left alone serves the next run.
    assert (await tenant.run(notebook["notebookId"]))["status"] == "Completed"


@in_both
async def test_while_its_kernel_starts(controlled: Controlled, tenant: Api, database: asyncpg.Connection) -> None:
    notebook = await tenant.create("print(1)")
    controlled.hold.touch()
    try:
        execution = await tenant.start(notebook["notebookId"])
        await until(tenant, execution, phase="StartingKernel")
        await cancel(tenant, execution)
    finally:
        controlled.hold.unlink()
    await check_ended_once(tenant, execution, database)


@in_both
@pytest.mark.parametrize(
    "source",
    [
        "print('kept', flush=True)\nimport time; time.sleep(60)",
        "import time\nprint('kept', flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: pass",
        STUBBORN,
    ],
    ids=["sleeps", "catches", "ignores"],
)
async def test_while_a_cell_runs(tenant: Api, database: asyncpg.Connection, source: str) -> None:
    notebook = await tenant.create("print('before')", source, "print('after')")
    execution = await tenant.start(notebook["notebookId"])
    cell_id = notebook["cells"][1]["cellId"]
    await until(tenant, execution, currentCell=cell_id)
    await shown(tenant, execution, "kept")
    ended = await cancel(tenant, execution)
    assert [cell["status"] for cell in ended["cellResults"]] == ["Success", "Cancelled", "Cancelled"]
    outputs = str((await tenant.results(ended))["outputs"])
    assert "before" in outputs
    assert "kept" in outputs
    await check_ended_once(tenant, execution, database)


@usually_forked
@pytest.mark.parametrize("down", ["artifacts", "object_store"])
async def test_while_results_are_collected(
    controlled: Controlled, tenant: Api, database: asyncpg.Connection, down: str
) -> None:
    notebook = await tenant.create("import time; time.sleep(1)", "print('x' * 200_000)")
    execution = await tenant.start(notebook["notebookId"])
    await until(tenant, execution, phase="ExecutingCells")
    with frozen(getattr(controlled.stack, down)):
        await until(tenant, execution, phase="CollectingResults")
        ended = await cancel(tenant, execution)
    assert {cell["status"] for cell in ended["cellResults"]} == {"Success"}
    assert any("cancelled while its results" in warning for warning in ended["warnings"])
    results = await tenant.results(ended)
    await check_ended_once(tenant, execution, database)
    assert await tenant.results(ended) == results


@usually_forked
async def test_while_a_cell_runs_and_the_results_cannot_be_stored(
    controlled: Controlled, tenant: Api, database: asyncpg.Connection
) -> None:
    notebook = await tenant.create("import time; time.sleep(60)")
    execution = await tenant.start(notebook["notebookId"])
    await until(tenant, execution, currentCell=notebook["cells"][0]["cellId"])
    with frozen(controlled.stack.artifacts):
        await cancel(tenant, execution)
    await check_ended_once(tenant, execution, database)


@usually_forked
async def test_while_a_report_is_rendered(tenant: Api, database: asyncpg.Connection) -> None:
    notebook = await tenant.create("print(1)")
    execution = await tenant.start(notebook["notebookId"], {"outputOptions": {"generateReport": True}})
    await until(tenant, execution, phase="CollectingResults")
    await cancel(tenant, execution)
    await check_ended_once(tenant, execution, database)


@usually_forked
@pytest.mark.slow(reason="thirty moments, up to a second and a half into a run")
async def test_at_any_moment(tenant: Api, database: asyncpg.Connection) -> None:
    """A promised cancellation holds, whatever the run was just about to do."""
    notebook = await tenant.create("print(1)")

    async def one(delay_s: float) -> None:
        execution = await tenant.start(notebook["notebookId"])
        await asyncio.sleep(delay_s)  # the moment is what is tested; any will do
        code, _, _ = await tenant.post(f"{address(execution)}/cancel")
        ended = await tenant.wait(notebook["notebookId"], execution["executionId"])
        assert (code, ended["status"]) in {(202, "Cancelled"), (409, "Completed")}
        assert await terminal_events(tenant, execution) == [f"execution.{ended['status'].lower()}"]

    for step in range(0, 30, SLOTS):
        await asyncio.gather(*(one((step + slot) * 0.05) for slot in range(SLOTS)))
    assert await counters(database, tenant) == (0, 0)
