"""What tests of run control ask again and again about one run."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg

from tests.support.api import Api
from tests.support.recorder import TERMINAL


def address(execution: dict[str, Any]) -> str:
    """The run's path within its project."""
    return f"notebook/{execution['notebookId']}/execution/{execution['executionId']}"


async def status(api: Api, execution: dict[str, Any]) -> dict[str, Any]:
    """The status object now."""
    code, found, _ = await api.get(address(execution))
    assert code == 200, found
    return dict(found)


async def until(api: Api, execution: dict[str, Any], timeout_s: float = 30, **members: Any) -> dict[str, Any]:
    """The status object as soon as its members are so."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = await status(api, execution)
            if all(found[name] == value for name, value in members.items()):
                return found
            assert found["status"] == "Running", found
            await asyncio.sleep(0.02)


async def terminal_events(api: Api, execution: dict[str, Any]) -> list[str]:
    """The types of the run's terminal events, of which there must be one; their numbers must be gapless."""
    code, body, _ = await api.get(f"{address(execution)}/events")
    assert code == 200
    text = body.decode()
    numbers = [int(number) for number in re.findall(r"^id: (\d+)$", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    return [name for name in re.findall(r"^event: (\S+)$", text, re.MULTILINE) if name in TERMINAL]


async def counters(database: asyncpg.Connection, api: Api) -> tuple[int, int]:
    """How many runs of the tenant wait, and how many are held, by its row."""
    row = await database.fetchrow("SELECT queued, active FROM executor.tenant WHERE tenant_id = $1::uuid", api.tenant)
    return (row["queued"], row["active"])


async def end_leases(database: asyncpg.Connection, execution_ids: list[str]) -> None:
    """Let the leases of the workers that have these runs, and are dead, end now instead of in a few seconds."""
    await database.execute(
        "UPDATE executor.worker SET expires_at = clock_timestamp() - interval '1 s' WHERE worker_id IN "
        "(SELECT worker_id FROM executor.execution WHERE execution_id = ANY($1::uuid[]) AND ended_at IS NULL)",
        execution_ids,
    )


async def set_quota(
    database: asyncpg.Connection, api: Api, *, max_active: int | None = None, max_queued: int | None = None
) -> None:
    """Give the tenant limits of its own, as docs/operations.md says."""
    await database.execute(
        "INSERT INTO executor.tenant (tenant_id, max_active, max_queued) VALUES ($1::uuid, $2, $3) "
        "ON CONFLICT (tenant_id) DO UPDATE SET max_active = excluded.max_active, max_queued = excluded.max_queued",
        api.tenant,
        max_active,
        max_queued,
    )
