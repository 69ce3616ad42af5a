"""Whatever a tenant sends, it stops nobody else: each input beside a probe of another tenant."""

from __future__ import annotations

import psutil
import pytest

from deploy.local import Stack
from tests.abuse import issue_rows
from tests.abuse.attacker import Input
from tests.abuse.judging import Court
from tests.abuse.suite import INPUTS, batches
from tests.support.polling import until

pytestmark = [
    pytest.mark.timeout(900),  # a batch with a fault is sent in halves again
    pytest.mark.slow(reason="a batch of inputs, several of which take as much time as they may"),
]

LEAST = 120
"""Generated inputs of the usual batches at least."""

USUAL, OTHERS = batches()

BATCHES = [
    pytest.param(batch, id=f"{kind} {number}", marks=pytest.mark.long)  # beside other tests they take minutes too many
    for kind, batches_of_kind in (("batch", USUAL), ("other batch", OTHERS))
    for number, batch in enumerate(batches_of_kind, 1)
]

TEMPLATE = 1
"""Processes that a service has below it when nothing is worked on in another process: the template of those."""


def test_there_are_enough_inputs_and_each_has_a_name_of_its_own() -> None:
    assert sum(map(len, USUAL)) >= LEAST + len(issue_rows.INPUTS)
    assert sum(map(len, [*USUAL, *OTHERS])) == len({one.name for one in INPUTS})


@pytest.mark.parametrize("batch", BATCHES)
async def test_no_input_stops_another_tenant(batch: list[Input], court: Court) -> None:
    assert await court.faults(batch) == []


@pytest.mark.long
async def test_no_process_is_left_over(abused: Stack, court: Court) -> None:
    def alone() -> bool:
        parts = (abused.gateway, abused.catalog, abused.control, abused.artifacts)
        return all(len(psutil.Process(part.pid).children(recursive=True)) <= TEMPLATE for part in parts)

    await court.end_probe()
    await until(alone, what="the end of every process of a request")
