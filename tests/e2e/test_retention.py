"""A project keeps the runs that its policy says, and nothing of the others."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from tests.support.api import Api

NOTHING = {"maxAgeDays": None, "maxRunsPerNotebook": None, "maxBytes": None}


@pytest.fixture
async def tenant(stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A tenant of its own."""
    return await Api.of(stack, http)


async def kept(api: Api, notebook: dict[str, Any], expected: list[str]) -> None:
    """Wait until the notebook's history is these runs, newest first."""
    async with asyncio.timeout(60):
        while True:
            _, page, _ = await api.get(f"notebook/{notebook['notebookId']}/executions")
            if [run["executionId"] for run in page["executions"]] == expected:
                return
            await asyncio.sleep(0.1)


async def stored(api: Api) -> int:
    return int((await api.get("storage"))[1]["runBytes"])


async def set_policy(api: Api, **members: Any) -> dict[str, Any]:
    status, policy, _ = await api.put("retention", json=members)
    assert status == 200, policy
    return dict(policy)


async def test_without_a_policy_everything_is_kept(tenant: Api) -> None:
    status, policy, _ = await tenant.get("retention")
    assert (status, policy) == (200, {**NOTHING, "dateModified": None, "modifiedBy": None, "lastApplied": None})
    assert (await tenant.put("retention", json={"maxAgeDays": 0, "maxRuns": 1}))[1]["errors"]


async def test_a_number_of_runs_is_kept_and_the_newest_success_with_them(tenant: Api) -> None:
    notebook = await tenant.create("if fail: 1/0\nprint('x' * 100_000)")
    good = [await tenant.run(notebook["notebookId"], {"parameters": {"fail": False}}) for _ in range(2)]
    bad = [await tenant.run(notebook["notebookId"], {"parameters": {"fail": True}}) for _ in range(2)]
    before = await stored(tenant)
    policy = await set_policy(tenant, maxRunsPerNotebook=1)
    assert policy["maxRunsPerNotebook"] == 1
    await kept(tenant, notebook, [bad[1]["executionId"], good[1]["executionId"]])
    gone = f"notebook/{notebook['notebookId']}/execution/{good[0]['executionId']}"
    assert (await tenant.get(gone))[0] == 404
    assert (await tenant.get(f"{gone}/results"))[0] == 404
    async with asyncio.timeout(60):
        while await stored(tenant) >= before:
            await asyncio.sleep(0.1)
    assert (await tenant.get("retention"))[1]["lastApplied"] is not None
    assert (await tenant.get(f"notebook/{notebook['notebookId']}"))[1]["status"] == "Error"


async def test_old_runs_go(tenant: Api, stack: Stack) -> None:
    notebook = await tenant.create("print(1)")
    runs = [await tenant.run(notebook["notebookId"]) for _ in range(3)]
    connection = await asyncpg.connect(stack.postgres.dsn)
    try:
        statement = (
            "UPDATE executor.execution SET ended_at = ended_at - interval '31 days' WHERE execution_id = ANY($1)"
        )
        await connection.execute(statement, [runs[0]["executionId"], runs[1]["executionId"]])
    finally:
        await connection.close()
    await set_policy(tenant, maxAgeDays=30)
    await kept(tenant, notebook, [runs[2]["executionId"]])


async def test_the_oldest_go_until_the_rest_take_no_more(tenant: Api) -> None:
    notebook = await tenant.create("import base64, os\nprint(base64.b64encode(os.urandom(300_000)).decode())")
    runs = [await tenant.run(notebook["notebookId"]) for _ in range(4)]
    each = await stored(tenant) // 4
    await set_policy(tenant, maxBytes=2 * each + each // 2)
    await kept(tenant, notebook, [runs[3]["executionId"], runs[2]["executionId"]])
    await set_policy(tenant, maxBytes=0)
    await kept(tenant, notebook, [runs[3]["executionId"]])


async def test_only_admins_set_the_policy(stack: Stack, http: aiohttp.ClientSession) -> None:
    editor = await Api.of(stack, http, role="editor")
    assert (await editor.get("retention"))[0] == 200
    assert (await editor.put("retention", json=NOTHING))[0] == 403
