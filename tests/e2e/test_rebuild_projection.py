"""What lists show of runs, rebuilt from executor's history: equal to what the facts had made of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from deploy.local import Stack
from deploy.local.folder import ROOT
from tests.support.api import Api
from tests.support.runs import address

OF_TENANT = "notebook_id IN (SELECT notebook_id FROM notebook WHERE tenant_id = $1::uuid)"
STATES = {
    "notebook": "notebook_id::text, status, execution_count, last_execution_date",
    "execution": "execution_id::text, active, accepted_at, ended_at, outcome, notebook_status, last_seq, purged",
    "cell": "notebook_id::text, cell_id, execution_count, has_output, last_executed, execution_status",
}
"""What each table shows of runs, in the order of its first column."""


@pytest.fixture
async def database(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    # The catalog's path: its trigger names a table.
    connection = await asyncpg.connect(stack.postgres_dsn, server_settings={"search_path": "catalog"})
    yield connection
    await connection.close()


async def seen(database: asyncpg.Connection, api: Api) -> dict[str, list[dict[str, Any]]]:
    return {
        table: [
            dict(row)
            for row in await database.fetch(
                f"SELECT {columns} FROM {table} WHERE {OF_TENANT} ORDER BY 1, 2", api.tenant
            )
        ]
        for table, columns in STATES.items()
    }


async def rebuild(stack: Stack) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.catalog",
        "rebuild-projection",
        env=stack.catalog.environment(),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_the_projection_is_the_same_after_a_rebuild(
    stack: Stack, http: Any, database: asyncpg.Connection
) -> None:
    api = await Api.of(stack, http)
    fine = await api.create("1 + 1", "print('x')")
    failing = await api.create("1 + 1", "1 / 0", "2")
    cancelled = await api.create("import time; time.sleep(60)")
    await api.create("never run")
    for _ in range(2):
        await api.run(fine["notebookId"])
    removed = await api.run(fine["notebookId"])
    await api.run(failing["notebookId"])
    cells = [cell["cellId"] for cell in fine["cells"]]
    part = {"executionMode": "range", "cellRange": {"startCell": cells[1], "endCell": cells[1]}}
    await api.run(fine["notebookId"], part)
    stopped = await api.start(cancelled["notebookId"])
    status, _, _ = await api.delete(f"{address(removed)}?purge=true")
    assert status == 204
    await api.post(f"{address(stopped)}/cancel")
    await api.wait(cancelled["notebookId"], stopped["executionId"])
    going = (await api.start(cancelled["notebookId"]))["executionId"]
    async with asyncio.timeout(30):
        while True:
            before = await seen(database, api)
            runs = {row["execution_id"]: row for row in before["execution"]}
            active = [name for name, row in runs.items() if row["active"]]
            begun = active == [going] and runs[going]["last_seq"] > 1
            if len(runs) == 7 and begun and runs[removed["executionId"]]["purged"]:
                break
            await asyncio.sleep(0.05)
    states = {row["notebook_id"]: (row["status"], row["execution_count"]) for row in before["notebook"]}
    assert states[fine["notebookId"]] == ("Ready", 4)
    assert states[cancelled["notebookId"]] == ("Running", 2)
    assert states[failing["notebookId"]] == ("Error", 1)
    shown = (await api.get(f"notebook/{fine['notebookId']}"))[1]
    assert (shown["status"], shown["executionCount"]) == ("Ready", 4)  # executor counts the same
    for damage in (
        "UPDATE notebook SET status = 'Running', execution_count = 99, last_execution_date = NULL WHERE ",
        "DELETE FROM execution WHERE outcome = 'Error' AND ",
        "UPDATE execution SET active = true, ended_at = NULL WHERE NOT purged AND ",
        "UPDATE cell SET execution_status = 'Error', execution_count = 7 WHERE ",
        "UPDATE execution SET active = false, last_seq = 1 WHERE outcome IS NULL AND ",
    ):
        await database.execute(damage + OF_TENANT, api.tenant)
    assert await seen(database, api) != before
    assert (await rebuild(stack)).startswith("rebuilt ")
    assert await seen(database, api) == before
    assert (await rebuild(stack)).startswith("rebuilt ")
    assert await seen(database, api) == before
    await api.post(f"notebook/{cancelled['notebookId']}/execution/{going}/cancel")
    await api.wait(cancelled["notebookId"], going)
