"""A large table goes out as CSV while it is read: nobody waits until all of it has come from the store."""

from __future__ import annotations

import asyncio
import base64
import random
from dataclasses import dataclass

import aiohttp
import pytest

from tests.integration.transfers.gate import Gate
from tests.integration.transfers.sending import PATIENCE_S, sender
from tests.support.api import Api

ROWS = 300_000
LET_THROUGH = 5_000_000
"""Less than half of what the table takes in the store, in bytes."""


def table() -> bytes:
    """A table that hardly gets smaller when it is packed."""
    texts = base64.urlsafe_b64encode(random.Random(1).randbytes(30 * ROWS)).decode()
    return ("name\n" + "".join(f"x{texts[n * 40 : n * 40 + 40]}\n" for n in range(ROWS))).encode()


@dataclass(frozen=True)
class Long:
    """A stored table and the address of its rows."""

    data: bytes
    url: str


@pytest.fixture(scope="module")
async def long(patient: Api) -> Long:
    """A long table in the store."""
    data = await asyncio.to_thread(table)
    async with sender(patient, name="long") as one:
        for start in range(0, len(data), 1 << 20):
            await one.send(data[start : start + (1 << 20)])
        await one.end()
        stored = (await one.answer()).problem
    assert stored["recordCount"] == ROWS
    assert stored["sizeBytes"] > 1.5 * LET_THROUGH
    return Long(data, patient.url(f"dataset/{stored['datasetId']}/data"))


async def test_the_first_rows_come_before_the_last_are_read(gate: Gate, patient: Api, long: Long) -> None:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    gate.narrow(LET_THROUGH)
    try:
        async with patient.session.get(long.url, headers=patient.headers, timeout=timeout) as answer:
            assert answer.status == 200
            begin = await answer.content.readexactly(100_000)
            gate.open()
            assert begin + await answer.content.read() == long.data
    finally:
        gate.open()


async def test_an_object_that_breaks_off_is_not_taken_for_whole(gate: Gate, patient: Api, long: Long) -> None:
    gate.narrow(LET_THROUGH)
    try:
        async with patient.session.get(long.url, headers=patient.headers) as answer:
            assert answer.status == 200
            await answer.content.readexactly(1_000)
            gate.broken = True
            gate.open()
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()
    finally:
        gate.broken = False
        gate.open()
