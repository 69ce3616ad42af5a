"""Our own code fails on a run: the run ends at once with an incident id, and its notebook is never run again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.support.runs import counters, set_quota, terminal_events

SPOILT: dict[str, dict[str, Any]] = {
    "a snapshot that cannot be read": {},
    "a cell that is no cell": {"content": {"cells": [7], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}},
    "a source that is no text": {
        "content": {
            "cells": [
                {
                    "cell_type": "code",
                    "id": "a",
                    "source": 7,
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                }
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    },
}
"""What is changed of the pinned notebook of an accepted run: nothing that a client could do."""


@pytest.fixture
async def database(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """The stack's database, as its owner sees it."""
    connection = await asyncpg.connect(stack.postgres_dsn)
    yield connection
    await connection.close()


async def spoil(database: asyncpg.Connection, execution_id: str, changes: dict[str, Any]) -> None:
    body = await database.fetchval(
        "SELECT notebook FROM executor.execution_snapshot WHERE execution_id = $1::uuid", execution_id
    )
    spoilt = {**orjson.loads(body), **changes} if changes else {"no": "notebook"}
    await database.execute(
        "UPDATE executor.execution_snapshot SET notebook = $2 WHERE execution_id = $1::uuid",
        execution_id,
        orjson.dumps(spoilt),
    )
    await database.execute(
        "UPDATE executor.execution_cell SET cell_id = 'a', result = $2::json WHERE execution_id = $1::uuid",
        execution_id,
        '{"cellId": "a", "status": "Pending"}',
    )


@pytest.mark.parametrize("what", SPOILT)
async def test_such_a_run_ends_once_with_an_incident_id(api: Api, database: asyncpg.Connection, what: str) -> None:
    notebook = await api.create("print(1)")
    await set_quota(database, api, max_active=0)
    try:
        run = await api.start(notebook["notebookId"])
        await spoil(database, run["executionId"], SPOILT[what])
    finally:
        await set_quota(database, api)
    ended = await api.wait(notebook["notebookId"], run["executionId"])
    assert (ended["status"], ended["errorType"], ended["failedCell"]) == ("Error", "InternalError", None)
    assert re.search(r"incident id .*: [0-9a-f]{12}$", ended["errorMessage"]), ended["errorMessage"]
    assert [cell["status"] for cell in ended["cellResults"]] == ["Skipped"]
    assert await terminal_events(api, run) == ["execution.failed"]
    attempts = "SELECT attempt FROM executor.execution WHERE execution_id = $1::uuid"
    assert await database.fetchval(attempts, run["executionId"]) == 1
    assert await counters(database, api) == (0, 0)
    after = await api.run((await api.create("print(2)"))["notebookId"])
    assert after["status"] == "Completed"
