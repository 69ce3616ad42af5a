"""Memory for request bodies: shared out by tenant, waited for, and refused in the end."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from services.gateway.body_budget import FREE_BYTES, BodyBudget
from shared.errors import Unavailable

MIB = 1024 * 1024


async def test_a_tenant_takes_half_and_another_still_gets_its_part() -> None:
    budget, greedy, other = BodyBudget(8 * MIB, wait_s=0.01), uuid4(), uuid4()
    async with budget.reserve(greedy, 2 * MIB), budget.reserve(greedy, 2 * MIB):
        with pytest.raises(Unavailable, match="no effect"):
            async with budget.reserve(greedy, MIB):
                pytest.fail("over its share")
        async with budget.reserve(other, 4 * MIB), budget.reserve(greedy, FREE_BYTES):
            pass


async def test_one_body_alone_is_always_let_in() -> None:
    async with BodyBudget(MIB, wait_s=0.01).reserve(uuid4(), 10 * MIB):
        pass


async def test_who_waits_gets_what_becomes_free() -> None:
    budget, tenant = BodyBudget(8 * MIB, wait_s=30), uuid4()
    entered = asyncio.Event()

    async def second() -> None:
        async with budget.reserve(tenant, 4 * MIB):
            entered.set()

    async with budget.reserve(tenant, 4 * MIB):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        assert not entered.is_set()
    await waiting
    assert entered.is_set()


async def test_whoever_goes_away_while_waiting_leaves_nothing_behind() -> None:
    budget, tenant = BodyBudget(8 * MIB, wait_s=30), uuid4()

    async def second() -> None:
        async with budget.reserve(tenant, 8 * MIB):
            pytest.fail("was not to get it")

    async with budget.reserve(tenant, 8 * MIB):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), budget.reserve(tenant, 8 * MIB):
        pass
