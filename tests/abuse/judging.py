"""Sends inputs, several at a time, and judges what they did to tenant B and to the services. A batch with a fault
is halved until the inputs are named that make it alone."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from deploy.local import Stack
from tests.abuse.attacker import Attacker, Broken, Input
from tests.abuse.probe import Look, Probe

AT_ONCE = 3
"""Inputs that are sent at a time."""

STILL_S = 2.0
"""A read of B that takes longer stands still, in seconds, on a machine that is not busy with other things."""

USUAL_MULTIPLE = 20.0
"""How often its quiet time a read may take in any case: a busy machine makes both longer."""

HELD_UP_S = 1.0
"""How much processor time a service may use while its event loop waits, in seconds: also the bound of one bucket of the
metric."""

MEMORY_MB = {"gateway": 512, "catalog": 512, "control": 512, "artifacts": 512}
"""The most that each service's process may ever hold, in megabytes (docs/limits.md); its children have limits of their
own."""

_HELD_UP = re.compile(r'^atelier_event_loop_held_up_seconds_(?:count|bucket\{le="1\.0"\}) (\S+)$', re.MULTILINE)


@dataclass
class Findings:
    """What was wrong, and how B fared."""

    faults: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)


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
        """Send the inputs; returns what is wrong, each with the inputs that it takes. What is not wrong any more when
        they are sent once more was the machine's doing, which has others to serve."""
        if not (await self.judge(inputs)).faults:
            return []
        middle = len(inputs) // 2
        halves = await self.faults(inputs[:middle]) + await self.faults(inputs[middle:]) if middle else []
        if halves:
            return halves
        names = ", ".join(one.name for one in inputs)
        return [f"{names}: {fault}" for fault in (await self.judge(inputs)).faults]

    async def judge(self, inputs: list[Input]) -> Findings:
        """Send the inputs and say what that did."""
        attacker = await Attacker.of(self._stack, self._session)
        await asyncio.to_thread(self._forget_peaks)
        held_up, began = await self._held_up(), time.time()
        turns = asyncio.Semaphore(AT_ONCE)
        said = await asyncio.gather(*(self._sent(one, attacker, turns) for one in inputs))
        looks = await self._probe.since(began)
        faults = [fault for fault in said if fault is not None]
        faults += self._faults_of_probe(looks)
        faults += [
            f"{service} kept its event loop waiting for more than {HELD_UP_S} s"
            for service, count in (await self._held_up()).items()
            if count > held_up.get(service, 0)
        ]
        faults += await asyncio.to_thread(self._too_large)
        return Findings(faults, looks)

    @staticmethod
    async def _sent(one: Input, attacker: Attacker, turns: asyncio.Semaphore) -> str | None:
        async with turns:
            try:
                await one.send(attacker)
            except (Broken, TimeoutError, AssertionError) as error:
                return f"{one.name}: {type(error).__name__} {error}"
        return None

    def _faults_of_probe(self, looks: list[Look]) -> list[str]:
        faults = [f"B's {look.what} failed: {look.fault}" for look in looks if look.fault]
        longest_s = max(STILL_S, USUAL_MULTIPLE * self.quiet.get("read", 0.0))
        still = max((look.seconds for look in looks if look.what == "read"), default=0.0)
        return faults + [f"a read of B stood still for {still:.1f} s"] * (still > longest_s)

    async def _held_up(self) -> dict[str, float]:
        """For each service how often its own work kept its event loop waiting for longer than `HELD_UP_S`."""
        found = {}
        for name, service in self._stack.services.items():
            try:
                async with self._session.get(f"{service.ops_url}/metrics") as response:
                    below, count = sorted(map(float, _HELD_UP.findall(await response.text())))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise AssertionError(f"{name} does not answer any more: {error}") from error
            found[name] = count - below
        return found

    def _forget_peaks(self) -> None:
        for service in self._stack.services.values():
            Path(f"/proc/{service.pid}/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins anew: proc(5)

    def _too_large(self) -> list[str]:
        peaks = self.peaks()
        return [
            f"{name} held {peaks[name]} MB, more than {most} MB"
            for name, most in MEMORY_MB.items()
            if peaks[name] > most
        ]

    def peaks(self) -> dict[str, int]:
        """The most that each service's process has held since it was last asked to forget, in megabytes."""
        found = {}
        for name, service in self._stack.services.items():
            text = Path(f"/proc/{service.pid}/status").read_text(encoding="ascii")
            found[name] = int(text.partition("VmHWM:")[2].split()[0]) // 1024
        return found
