"""Sends inputs, several at a time, and judges what they did to tenant B and to the services.

What is certainly a service's doing counts at once: an answer that no input may lead to, a run of B that is not
`Completed`, a process over its memory, a process that ended. What a busy machine may do as well, a read of B that
failed or stood still, counts when it is seen again: the batch is sent once more, in two halves, one after the other.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from dataclasses import dataclass, field

import aiohttp

from deploy.local import Stack
from tests.abuse import machine
from tests.abuse.attacker import Attacker, Broken, Input
from tests.abuse.probe import Look, Probe

AT_ONCE = 3
"""Inputs that are sent at a time."""

STILL_S = 2.0
"""A read of B that takes longer stands still, in seconds; the time in which the services were ready to go on, but the
machine's processors were busy, does not count."""

HELD_UP_S = 1.0
"""How much processor time a service may use while its event loop waits, in seconds: also the bound of one bucket of the
metric."""

HALVES_S = 90.0
"""How long a batch is looked into, in seconds; then it is named as a whole."""

_HELD_UP = re.compile(r'^atelier_event_loop_held_up_seconds_(?:count|bucket\{le="1\.0"\}) (\S+)$', re.MULTILINE)
_ENDED = re.compile(r"^atelier_worker_processes_ended_total\S* (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """Something wrong; `certain` when no machine can be to blame."""

    text: str
    certain: bool = True


@dataclass
class Findings:
    """What was wrong, and how B fared."""

    faults: list[Fault] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)


@dataclass(frozen=True)
class _Counts:
    """Counted by the services themselves: how often each kept its event loop waiting, and processes that ended."""

    held_up: dict[str, float]
    ended: float


class Court:
    """Judges inputs on one stack, beside one probe."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, probe: Probe) -> None:
        self._stack, self._session, self._probe = stack, session, probe
        self.quiet: dict[str, float] = {}

    async def end_probe(self) -> None:
        """B leaves."""
        await self._probe.end()

    async def measure_quiet(self, seconds: float) -> None:
        """Learn how long B's things take when nobody does anything to it."""
        began = time.time()
        await asyncio.sleep(seconds)
        looks = await self._probe.since(began)
        faults = [look.fault for look in looks if look.fault]
        assert not faults, faults[:3]
        self.quiet = {
            what: statistics.median(look.seconds for look in looks if look.what == what)
            for what in {look.what for look in looks}
        }

    async def faults(self, inputs: list[Input]) -> list[str]:
        """Send the inputs; returns what is wrong, with the inputs that it takes."""
        found = (await self.judge(inputs)).faults
        certain = [fault.text for fault in found if fault.certain]
        if certain or not found:
            return certain
        seen_again: list[str] = []
        middle = (len(inputs) + 1) // 2
        try:
            async with asyncio.timeout(HALVES_S):
                for half in (inputs[:middle], inputs[middle:]):
                    faults = (await self.judge(half)).faults if half else []
                    seen_again += [f"{_names(half)}: {fault.text}" for fault in faults]
        except TimeoutError:
            seen_again += [f"{_names(inputs)}: {fault.text}" for fault in found]
        if not seen_again:
            print(f"seen once, and not again: {[fault.text for fault in found]}")  # shown by pytest -rP
        return seen_again

    async def judge(self, inputs: list[Input]) -> Findings:
        """Send the inputs and say what that did."""
        attacker = await Attacker.of(self._stack, self._session)
        await asyncio.to_thread(machine.forget_peaks, self._stack)
        counts, began = await self._counts(), time.time()
        turns = asyncio.Semaphore(AT_ONCE)
        async with machine.watching(self._stack) as waits:
            said = await asyncio.gather(*(self._sent(one, attacker, turns) for one in inputs))
            looks = await self._probe.since(began)
        faults = [fault for fault in said if fault is not None]
        faults += _faults_of_probe(looks, waits)
        faults += self._faults_of_services(counts, await self._counts())
        faults += [Fault(text) for text in await asyncio.to_thread(machine.too_large, self._stack)]
        return Findings(faults, looks)

    def peaks(self) -> dict[str, int]:
        """The most that each process has held since it was last asked to forget, in megabytes."""
        return machine.peaks(self._stack)

    @staticmethod
    async def _sent(one: Input, attacker: Attacker, turns: asyncio.Semaphore) -> Fault | None:
        async with turns:
            try:
                await one.send(attacker)
            except Broken as error:
                return Fault(f"{one.name}: {error}")
            except (TimeoutError, AssertionError) as error:
                return Fault(f"{one.name}: {type(error).__name__} {error}", certain=False)
        return None

    @staticmethod
    def _faults_of_services(before: _Counts, after: _Counts) -> list[Fault]:
        faults = [
            Fault(f"{service} kept its event loop waiting for more than {HELD_UP_S} s", certain=False)
            for service, count in after.held_up.items()
            if count > before.held_up.get(service, 0)
        ]
        if after.ended > before.ended:
            faults.append(Fault(f"{after.ended - before.ended:.0f} processes of the worker ended"))
        return faults

    async def _counts(self) -> _Counts:
        held_up, ended = {}, 0.0
        for name, service in self._stack.services.items():
            try:
                async with self._session.get(f"{service.ops_url}/metrics") as response:
                    text = await response.text()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise AssertionError(f"{name} does not answer any more: {error}") from error
            below, count = sorted(map(float, _HELD_UP.findall(text)))
            held_up[name] = count - below
            ended += sum(map(float, _ENDED.findall(text)))
        return _Counts(held_up, ended)


def _faults_of_probe(looks: list[Look], waits: machine.Waits) -> list[Fault]:
    faults = [
        Fault(f"B's {look.what} failed: {look.fault}", certain=look.what == "run") for look in looks if look.fault
    ]
    for look in looks:
        stood = look.seconds - waits.between(look.began, look.began + look.seconds)
        if look.what == "read" and stood > STILL_S:
            faults.append(Fault(f"a read of B stood still for {stood:.1f} s", certain=False))
    return faults


def _names(inputs: list[Input]) -> str:
    return ", ".join(one.name for one in inputs)
