"""Notebooks that run by themselves, through HTTP: now, at the next minute, on new data, and after one another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from deploy.local import Stack
from tests.support.api import Api

SOON_S = 90.0
"""Until the next minute has come and its run is there, on a busy machine, in seconds."""


async def fires(api: Api, notebook: dict[str, Any]) -> list[dict[str, Any]]:
    status, page, _ = await api.get(f"notebook/{notebook['notebookId']}/schedule/fires")
    assert status == 200, page
    return list(page["fires"])


async def first_fire(api: Api, notebook: dict[str, Any]) -> dict[str, Any]:
    """The first one, once it is decided."""
    async with asyncio.timeout(SOON_S):
        while not (found := [fire for fire in await fires(api, notebook) if fire["state"] != "Pending"]):
            await asyncio.sleep(0.1)
    return found[-1]


async def a_minute_passes(stack: Stack, notebook: dict[str, Any]) -> None:
    """Move the schedule's next time back instead of waiting for it."""
    connection = await asyncpg.connect(stack.postgres_dsn)
    try:
        moved = await connection.execute(
            "UPDATE catalog.automation SET next_fire_at = next_fire_at - interval '1 min', "
            "due_at = due_at - interval '1 min' WHERE notebook_id = $1 AND due_at > clock_timestamp()",
            notebook["notebookId"],
        )
    finally:
        await connection.close()
    assert moved in {"UPDATE 1", "UPDATE 0"}  # 0: the minute has come meanwhile


async def test_a_schedule_run_now_paused_and_at_its_next_time(api: Api, stack: Stack) -> None:
    integration = {"scheduleExecution": "* * * * *", "scheduleOverlap": "queue", "scheduleParameters": {"days": 7}}
    notebook = await api.create("print(days)", integration=integration)
    path = f"notebook/{notebook['notebookId']}/schedule"
    status, schedule, _ = await api.get(path)
    assert (status, schedule["state"], len(schedule["nextTimes"])) == (200, "Active", 10)
    await a_minute_passes(stack, notebook)
    first = await first_fire(api, notebook)
    assert (first["state"], first["kind"], first["fireTime"][-5:]) == ("Started", "schedule", ".000Z")
    ended = await api.wait(notebook["notebookId"], first["executionId"])
    assert (ended["status"], ended["trigger"], ended["createdBy"]) == ("Completed", first["trigger"], "schedule")
    assert ended["parameters"] == {"days": 7}
    status, paused, _ = await api.post(f"{path}/pause")
    assert (status, paused["state"]) == (200, "Paused")
    headers = {"Idempotency-Key": "now"}
    status, fire, answer = await api.post(f"{path}/run", headers=headers)
    assert (status, fire["state"], fire["trigger"]["manual"]) == (202, "Started", True)
    assert answer["Location"].endswith(f"/execution/{fire['executionId']}")
    status, again, _ = await api.post(f"{path}/run", headers=headers)
    assert (status, again["fireId"]) == (202, fire["fireId"])
    assert (await api.wait(notebook["notebookId"], fire["executionId"]))["createdBy"] == "tests"
    status, resumed, _ = await api.post(f"{path}/resume")
    assert (status, resumed["state"]) == (200, "Active")
    status, removed, _ = await api.put(
        f"notebook/{notebook['notebookId']}", json={"integration": {"scheduleExecution": None}}
    )
    assert (status, removed["integration"]["scheduleExecution"]) == (200, None)
    status, _, _ = await api.post(f"{path}/run")
    assert status == 409


async def test_new_data_and_a_chain(api: Api, simulated_log: Path) -> None:
    dataset = await api.upload_dataset(simulated_log)
    first = await api.create("1 + 1", integration={"datasetBinding": dataset["datasetId"], "autoExecution": True})
    second = await api.create("2 + 2", integration={"runAfter": [first["notebookId"]]})
    form = aiohttp.FormData()
    with simulated_log.open("rb") as file:
        form.add_field("file", file, filename="log.csv")
        status, changed, _ = await api.put(f"dataset/{dataset['datasetId']}", data=form)
    assert (status, changed["version"]) == (200, 2), changed
    fire = await first_fire(api, first)
    assert (fire["state"], fire["trigger"]["kind"], fire["trigger"]["datasetVersion"]) == ("Started", "dataset", 2)
    after = await first_fire(api, second)
    assert (after["state"], after["trigger"]["executions"]) == ("Started", [fire["executionId"]])
    assert (await api.wait(second["notebookId"], after["executionId"]))["status"] == "Completed"


@pytest.mark.parametrize(
    ("integration", "path"),
    [
        ({"scheduleJitter": 4000}, "integration.scheduleJitter"),
        ({"scheduleTimeZone": "Mars/Olympus"}, "integration.scheduleTimeZone"),
        ({"runAfter": ["00000000-0000-4000-8000-000000000000"]}, "integration.runAfter[0]"),
    ],
)
async def test_what_cannot_be(api: Api, integration: dict[str, Any], path: str) -> None:
    status, problem, _ = await api.post("notebook", json={"notebookName": "No", "integration": integration})
    assert (status, [fault["path"] for fault in problem["errors"]]) == (400, [path])
