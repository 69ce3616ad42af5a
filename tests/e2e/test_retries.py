"""Retries by policy: a failed run is begun anew as it asks, its attempts are shown and kept apart, and it ends once."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import asyncpg
import pytest

from deploy.local import Stack
from tests.e2e.test_events import read_events
from tests.support.api import Api
from tests.support.recorder import TERMINAL
from tests.support.runs import address, counters, status, until

UNTIL = "import time\nprint('attempt at', time.time())\nassert time.time() > after, 'too early'"
"""Fails until the time that the parameter `after` names."""

POLICIES: list[tuple[str, str, dict[str, Any], int, str | None]] = [
    ("no policy", "1 / 0", {}, 1, "ZeroDivisionError"),
    ("user errors only when asked", "1 / 0", {"retry": {"limit": 3}}, 1, "ZeroDivisionError"),
    ("asked", "1 / 0", {"retry": {"limit": 2, "on": ["error"]}}, 3, "ZeroDivisionError"),
    ("an error called so is no time limit", "raise TimeoutError", {"retry": {"limit": 1}}, 1, "TimeoutError"),
    ("cell timeout", "while True: pass", {"cellTimeout": 1, "retry": {"limit": 1}}, 2, "TimeoutError"),
    ("run timeout", "while True: pass", {"timeout": 1, "retry": {"limit": 1, "on": ["timeout"]}}, 2, "TimeoutError"),
    ("dead kernel", "import os; os._exit(3)", {"retry": {"limit": 1, "on": ["dead_kernel"]}}, 2, "DeadKernelError"),
    ("other failures", "import os; os._exit(3)", {"retry": {"limit": 1, "on": ["error"]}}, 1, "DeadKernelError"),
    ("tolerated", "1 / 0", {"errorPolicy": "continue", "retry": {"limit": 1, "on": ["error"]}}, 1, None),
    ("switched off", "1 / 0", {"retry": {"limit": 0, "on": ["error"]}}, 1, "ZeroDivisionError"),
]


@pytest.fixture
async def tenant(stack: Stack, api: Api) -> Api:
    """A tenant of its own, whose counters nobody else moves."""
    return await Api.of(stack, api.session)


async def test_what_is_retried_and_how_often(api: Api) -> None:
    async def run(source: str, request: dict[str, Any]) -> dict[str, Any]:
        notebook = await api.create(source)
        return await api.run(notebook["notebookId"], request)

    ended = await asyncio.gather(*(run(source, request) for _, source, request, _, _ in POLICIES))
    for (name, _, request, attempts, error_type), execution in zip(POLICIES, ended, strict=True):
        assert execution["attempt"] == attempts, name
        assert [attempt["attempt"] for attempt in execution["attempts"]] == list(range(1, attempts + 1)), name
        assert {attempt["errorType"] for attempt in execution["attempts"]} == {error_type}, name
        assert execution["status"] == ("Error" if error_type else "Completed"), name
        assert execution["errorType"] == error_type, name
        assert (execution["retry"] or {}).get("limit") == request.get("retry", {}).get("limit"), name
        events = await read_events(api, execution)
        types = [event["type"] for event in events]
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1)), name
        assert types.count("execution.attempt_failed") == types.count("execution.requeued") == attempts - 1, name
        assert [event["data"]["attempt"] for event in events if event["type"] == "execution.started"] == list(
            range(1, attempts + 1)
        ), name
        assert [kind for kind in types if kind in TERMINAL] == types[-1:], name


async def test_a_run_that_fails_first_and_then_succeeds(tenant: Api, stack: Stack) -> None:
    notebook = await tenant.create(UNTIL, integration={"retry": {"limit": 3}})
    request = {
        "parameters": {"after": time.time() + 5},
        "retry": {"limit": 10, "on": ["error"], "backoffSeconds": 1},
    }
    execution = await tenant.start(notebook["notebookId"], request)
    assert execution["retry"] == {"limit": 10, "on": ["error"], "backoffSeconds": 1, "exponential": False}
    assert (execution["attempt"], execution["attempts"]) == (0, [])
    ended = await tenant.wait(notebook["notebookId"], execution["executionId"])
    assert ended["status"] == "Completed"
    *failed, last = ended["attempts"]
    assert failed
    assert ended["attempt"] == len(failed) + 1 == last["attempt"]
    assert {(one["status"], one["errorType"], one["failedCell"]) for one in failed} == {
        ("Error", "AssertionError", notebook["cells"][0]["cellId"])
    }
    assert (last["status"], last["errorType"]) == ("Completed", None)
    moments = [moment for one in ended["attempts"] for moment in (one["startedAt"], one["endedAt"])]
    assert moments == sorted(moments)
    assert [cell["status"] for cell in ended["cellResults"]] == ["Success"]

    # What each attempt left behind is kept apart.
    def printed(results: dict[str, Any]) -> str:
        return "".join(output["content"] for output in results["outputs"] if output["outputType"] == "stream")

    first, newest = await tenant.results(ended, attempt="1"), await tenant.results(ended)
    assert printed(first) != printed(newest)
    assert any("too early" in output["content"] for output in first["outputs"])
    assert not any("too early" in output["content"] for output in newest["outputs"])
    assert await tenant.results(ended, attempt=str(ended["attempt"])) != first
    code, executed, _ = await tenant.get(f"{address(ended)}/notebook", params={"attempt": "1"})
    assert (code, executed["cells"][-1]["outputs"][-1]["ename"]) == (200, "AssertionError")
    artifact = first["outputs"][0]["artifactId"]
    assert (await tenant.get(f"{address(ended)}/artifacts/{artifact}"))[0] == 404
    assert (await tenant.get(f"{address(ended)}/artifacts/{artifact}", params={"attempt": "1"}))[0] == 200
    code, problem, _ = await tenant.get(f"{address(ended)}/results", params={"attempt": "99"})
    assert (code, problem["errors"][0]["path"]) == (400, "attempt")

    # Told as it happened, and counted right.
    told = [event for event in await read_events(tenant, ended) if event["type"] == "execution.attempt_failed"]
    assert [event["data"]["attempt"] for event in told] == [one["attempt"] for one in failed]
    database = await asyncpg.connect(stack.postgres_dsn)
    try:
        assert await counters(database, tenant) == (0, 0)
        query = "SELECT delayed FROM executor.tenant WHERE tenant_id = $1::uuid"
        assert await database.fetchval(query, tenant.tenant) == 0
    finally:
        await database.close()


async def test_cancelling_a_run_that_waits_for_its_next_attempt_ends_it_at_once(tenant: Api) -> None:
    notebook = await tenant.create("print('so far')\n1 / 0")
    policy = {"limit": 2, "on": ["error"], "backoffSeconds": 1800, "exponential": True}
    execution = await tenant.start(notebook["notebookId"], {"retry": policy, "queueTimeout": 1})
    async with asyncio.timeout(60):
        while not (waiting := await status(tenant, execution))["queueReason"] or waiting["attempt"] == 0:
            await asyncio.sleep(0.05)
    assert (waiting["status"], waiting["phase"], waiting["queuePosition"]) == ("Running", "Queued", None)
    found = re.fullmatch(r"waiting for attempt 2 of 3 in (\d+) s", waiting["queueReason"])
    assert found is not None
    assert 1_000 < int(found[1]) <= 1_800
    assert [one["errorType"] for one in waiting["attempts"]] == ["ZeroDivisionError"]
    assert {cell["status"] for cell in waiting["cellResults"]} == {"Pending"}
    code, shown, _ = await tenant.get(f"notebook/{notebook['notebookId']}")
    assert (code, shown["status"]) == (200, "Running")
    assert (await tenant.get("execution/queue"))[1]["totalCount"] == 1
    assert (await tenant.delete(f"notebook/{notebook['notebookId']}"))[0] == 409
    code, limits, _ = await tenant.get("/api/limits")
    assert (limits["queuedRuns"], limits["concurrentRuns"]) == (1, 0)
    # Others of the same tenant are not held up by it.
    other = await tenant.create("print(1)")
    assert (await tenant.run(other["notebookId"]))["status"] == "Completed"

    code, cancelled, _ = await tenant.post(f"{address(execution)}/cancel")
    assert (code, cancelled["status"]) == (202, "Cancelled")
    ended = await status(tenant, execution)
    assert (ended["status"], ended["attempt"], len(ended["attempts"])) == ("Cancelled", 1, 1)
    assert "so far" in str((await tenant.results(ended))["outputs"])
    code, limits, _ = await tenant.get("/api/limits")
    assert (limits["queuedRuns"], limits["concurrentRuns"]) == (0, 0)
    assert (await tenant.delete(f"notebook/{notebook['notebookId']}"))[0] == 204


async def test_a_notebooks_own_policy(api: Api) -> None:
    policy = {"limit": 1, "on": ["error"], "backoffSeconds": 0, "exponential": False}
    notebook = await api.create("1 / 0", integration={"retry": {**policy, "limit": 5, "backoffSeconds": 9}})
    path = f"notebook/{notebook['notebookId']}"
    # It is replaced whole: `backoffSeconds` goes back to its default.
    code, changed, _ = await api.put(path, json={"integration": {"retry": {"limit": 1, "on": ["error"]}}})
    assert (code, changed["integration"]["retry"]) == (200, policy)
    code, same, _ = await api.put(path, json={"integration": changed["integration"]})
    assert (code, same["notebookVersion"]) == (200, changed["notebookVersion"])
    ended = await api.run(notebook["notebookId"])
    assert (ended["attempt"], ended["retry"]) == (2, policy)
    code, rerun, _ = await api.post(f"{address(ended)}/rerun", json={"retry": {"limit": 0}})
    assert code == 202
    assert (await api.wait(notebook["notebookId"], rerun["executionId"]))["attempt"] == 1
    code, removed, _ = await api.put(path, json={"integration": {"retry": None}})
    assert (code, removed["integration"]["retry"]) == (200, None)
    execution = await api.start(notebook["notebookId"])
    assert execution["retry"] is None
    await until(api, execution, status="Error", attempt=1)


async def test_a_policy_that_is_none_is_refused_by_its_members(api: Api) -> None:
    notebook = await api.create("1")
    path = f"notebook/{notebook['notebookId']}"
    faulty = {"limit": 11, "on": ["errors", "lost"], "backoffSeconds": -1, "backoff": 3}
    wanted = {"limit", "on[0]", "backoffSeconds", "backoff"}
    for method, address_, body, prefix in (
        ("POST", f"{path}/execute", {"retry": faulty}, "retry"),
        ("PUT", path, {"integration": {"retry": faulty}}, "integration.retry"),
        ("POST", "notebook", {"notebookName": "n", "integration": {"retry": faulty}}, "integration.retry"),
    ):
        code, problem, _ = await api.call(method, address_, json=body)
        assert code == 400
        assert {fault["path"] for fault in problem["errors"]} == {f"{prefix}.{name}" for name in wanted}, problem
    policies: list[Any] = [
        {},
        {"limit": 1, "on": []},
        {"limit": 1, "backoffSeconds": 3601},
        {"limit": "many"},
        [],
        "often",
    ]
    for policy in policies:
        code, problem, _ = await api.post(f"{path}/execute", json={"retry": policy, "dryRun": True})
        assert (code, problem["errors"][0]["path"].startswith("retry")) == (400, True), policy
