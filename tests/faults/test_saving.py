"""kill -9 while runs hand over what they saved: results show complete things only, and the sweep leaves nothing else.

Runs that save an enriched dataset, a model, a loose file and 600 outputs are held at a step (see saving.py), then a
process is killed:

- storing: an object is on its way, part of it not yet read by the store;
- registering: the first portion of the manifest waits to be written;
- sealing: the last portion is written and the manifest about to be closed;
- sealed: the manifest is closed, the run's end waits to be written;
- ended: the end is committed; its answer may be lost, and its fact is yet to be sent.

`ATELIER_KILLS=20` takes every victim at every step with so many runs, four at a time; without it each run is worth a
kill of its own, with the worker at every step and the others where they have most to lose.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest

from deploy.local import Stack
from shared.contracts.base import Scope
from tests.faults.saving import EVERYTHING, SIZES, Hold, Saving
from tests.faults.storing import referred, sweep
from tests.integration.artifacts.client import Client
from tests.support.api import Api
from tests.support.long import count, others_are_long
from tests.support.runs import end_leases

pytestmark = pytest.mark.slow(reason="800 outputs and 20 MB are saved twice, around a kill")

RUNS = count("ATELIER_KILLS", usual=1, long=20)
AT_ONCE = 4
"""As many as the stack has slots."""

STEPS = ["storing", "registering", "sealing", "sealed", "ended"]
VICTIMS = ["worker", "control", "artifacts", "s3"]
USUAL = [("artifacts", "sealing"), ("s3", "storing"), ("control", "sealed")]
CASES = others_are_long(
    [(victim, step) for victim in VICTIMS for step in STEPS],
    [*(("worker", step) for step in STEPS), *USUAL],
    several=True,
)


OVERTAKEN = """
    SELECT count(*) FROM artifacts.manifest m JOIN executor.execution e USING (execution_id)
    WHERE m.tenant_id = $1 AND m.epoch <> e.manifest_epoch
"""


async def epoch_of(database: asyncpg.Connection, run: Saving) -> int:
    """The epoch whose manifest the run's end has named."""
    statement = "SELECT manifest_epoch FROM executor.execution WHERE execution_id = $1"
    return int(await database.fetchval(statement, run.execution["executionId"]))


def expected_epochs(*, lost: bool, step: str) -> set[int]:
    """A run that a dead worker had not ended begins anew (going back and being claimed raise the epoch by one each);
    one that was just ending may have got through."""
    if not lost:
        return {1}
    return {1, 3} if step == "ended" else {3}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("victim", "step"), CASES)
async def test_results_are_complete_and_nothing_else_is_kept(
    fault_stack: Stack, fault_api: Api, client: Client, connection: asyncpg.Connection, victim: str, step: str
) -> None:
    seeds = range(RUNS)
    for first in seeds[::AT_ONCE]:
        chances = [random.Random(f"{victim} {step} {seed}") for seed in seeds[first : first + AT_ONCE]]
        sizes = SIZES[:-1] if step == "storing" else SIZES  # a stopped store would never ask for the parts
        runs = [Saving(fault_api, chance, sizes) for chance in chances]
        hold = Hold(fault_stack, connection, step)
        async with hold.held():
            await asyncio.gather(*(run.start() for run in runs))
            await hold.reached(runs)
            if victim == "s3":
                hold.let_server_go()  # so that it dies with part of an object in hand
            await asyncio.sleep(chances[0].uniform(0, 0.02))
            over = await hold.over(runs)
            await asyncio.to_thread(fault_stack[victim].kill)
        if victim == "worker":
            await end_leases(connection, [run.execution["executionId"] for run in runs])
        await asyncio.to_thread(fault_stack[victim].start)
        for run in runs:
            found = await run.listed()
            assert all(found[kind] <= EVERYTHING[kind] for kind in found)
        for run in runs:
            ended = await run.ended()
            assert ended["status"] == "Completed", ended["errorMessage"]
            assert await run.listed() == EVERYTHING
            lost = victim == "worker" and run.execution["executionId"] not in over
            assert await epoch_of(connection, run) in expected_epochs(lost=lost, step=step)
    scope = Scope(tenant_id=UUID(fault_api.tenant), project_id=UUID(fault_api.project))
    project = replace(client, scope=scope)
    await sweep(project)
    assert sorted(await project.keys()) == await referred(project)
    assert await project.sql(OVERTAKEN, scope.tenant_id) == 0
