"""Uploads at the same time, large and small, take no more memory than the service may (DESIGN.md: 400 MB)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deploy.local import Stack
from tests.bench.big_logs import generate
from tests.integration.transfers.sending import sender
from tests.support.api import Api

LARGE_ROWS, SMALL_ROWS = 600_000, 50_000
MOST_MB = 400.0


@pytest.mark.slow(reason="2 million rows are converted")
async def test_uploads_at_the_same_time_stay_within_bounds(
    transfers_stack: Stack, patient: Api, tmp_path: Path
) -> None:
    async def upload(rows: int) -> None:
        data = await asyncio.to_thread((tmp_path / str(rows)).read_bytes)
        async with sender(patient, name="one of many") as one:
            for start in range(0, len(data), 1 << 20):
                await one.send(data[start : start + (1 << 20)])
            await one.end()
            answer = await one.answer()
        assert (answer.status, answer.problem["recordCount"]) == (201, rows)

    for rows in (LARGE_ROWS, SMALL_ROWS):
        await asyncio.to_thread(generate, tmp_path / str(rows), rows)
    process = Path(f"/proc/{transfers_stack.artifacts.pid}")
    (process / "clear_refs").write_text("5")  # forget the peak so far
    await asyncio.gather(*(upload(rows) for rows in [LARGE_ROWS] * 3 + [SMALL_ROWS] * 4))
    lines = (process / "status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
    assert peak < MOST_MB
