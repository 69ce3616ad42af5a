"""How another tenant fares beside each input of the abuse suite: the slowest hundredth of what it does, over the
slowest hundredth of the same while nobody does anything to it."""

from __future__ import annotations

import asyncio
import math
import time

import aiohttp

from deploy.local import Stack
from tests.abuse.attacker import Input
from tests.abuse.judging import Court, Fault
from tests.abuse.probe import PAUSE_S, Look, Probe, probing
from tests.abuse.suite import INPUTS
from tests.bench.promise import Promise

MULTIPLE = 5.0
"""How many times its quiet time anything of the other tenant may take beside an input."""

QUIET_S = 20.0
"""How long the quiet times are measured, in seconds."""

LEAST_S = 1.0
"""An input is sent again and again for so long at least, in seconds."""

P99 = 0.99


async def beside_inputs(stack: Stack, name_contains: str = "") -> list[Promise]:
    """A row for each input whose name contains the text: the worst of the ratios of reading, running and uploading."""
    rows = []
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
        probing(stack, session) as probe,
    ):
        court = Court(stack, session, probe)
        began = time.time()
        await asyncio.sleep(QUIET_S)
        quiet = p99(await probe.since(began))
        rows += [await _beside(one, court, probe, quiet) for one in INPUTS if name_contains in one.name]
    return rows


async def _beside(one: Input, court: Court, probe: Probe, quiet: dict[str, float]) -> Promise:
    began, clock = time.time(), time.monotonic()
    faults: list[Fault] = []
    while not faults and time.monotonic() - clock < LEAST_S:
        faults = (await court.judge([one])).faults
    found = p99(await probe.since(began))
    worst = max(PAUSE_S, key=lambda what: found[what] / quiet[what])
    ratio = found[worst] / quiet[worst]
    name = f"{one.name}: {worst} of another tenant {found[worst]:.2f} s, alone {quiet[worst]:.2f} s"
    fault = "; ".join(fault.text for fault in faults) or None
    return Promise(name=name, figures=[ratio], bar=MULTIPLE, unit="x", fault=fault)


def p99(looks: list[Look]) -> dict[str, float]:
    """For each thing that B does, how long 99 of a hundred take at most, in seconds."""
    found = {}
    for what in PAUSE_S:
        seconds = sorted(look.seconds for look in looks if look.what == what)
        found[what] = seconds[math.ceil(P99 * len(seconds)) - 1]
    return found
