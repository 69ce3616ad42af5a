"""Whatever a tenant sends, it stops nobody else: each input beside a probe of another tenant."""

from __future__ import annotations

import pytest

from deploy.local import Stack
from tests.abuse import issue_rows, machine
from tests.abuse.attacker import Input
from tests.abuse.conftest import SLOTS
from tests.abuse.judging import Court
from tests.abuse.suite import ALWAYS, INPUTS, batches
from tests.support.polling import until

pytestmark = [
    pytest.mark.timeout(480),  # a batch with a fault is sent in halves again
    pytest.mark.slow(reason="a batch of inputs, several of which take as much time as they may"),
]

LEAST = 120
"""Generated inputs of the usual batches at least."""

USUAL, OTHERS = batches()

BATCHES = [
    *(pytest.param(batch, id=f"batch {number}") for number, batch in enumerate(USUAL, 1)),
    *(
        pytest.param(batch, id=f"other batch {number}", marks=pytest.mark.long)
        for number, batch in enumerate(OTHERS, 1)
    ),
]


def test_there_are_enough_inputs_and_each_has_a_name_of_its_own() -> None:
    usual = {one.name for batch in USUAL for one in batch}
    assert len(usual) >= LEAST + len(issue_rows.INPUTS)
    assert usual.issuperset({*ALWAYS, *(one.name for one in issue_rows.INPUTS)})
    assert sum(map(len, [*USUAL, *OTHERS])) == len({one.name for one in INPUTS}) == len(INPUTS)


@pytest.mark.parametrize("batch", BATCHES)
async def test_no_input_stops_another_tenant(batch: list[Input], court: Court) -> None:
    assert await court.faults(batch) == []


async def test_no_process_is_left_over(abused: Stack, court: Court) -> None:
    """Neither of a request, nor of a run."""
    await court.end_probe()
    await until(lambda: not machine.left_over(abused, SLOTS), what="the end of every process of a request or a run")
