"""Watches over what a run uses that no control group limits: disk, files, processor time over the whole process tree.

It also says what each cell has used, and has a run that takes many processors give way. Looks at the disk when a cell
has ended and while it runs; looking costs some tens of microseconds for a small folder and is done in a thread for a
large one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from services.executor import wording
from services.executor.kernels.metering import Meter
from services.executor.running import demand, footprint
from services.executor.running.demand import Demand
from services.executor.running.footprint import Footprint
from shared.contracts.executions import CellResources

LOOK_S = 0.5
"""Pause between two looks while cells run, in seconds."""

LOOK_SHARE = 0.2
"""Looking at a large folder may take this share of the time."""

INLINE_FILES = 200
"""A folder with more files is looked at in a thread."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What one run may use; None: no limit."""

    disk_bytes: int
    files: int
    cpu_seconds: int | None = None


class Guard:
    """Of one run. `breached` is set once and for all when the run has used more than it may; `breach` says of what."""

    def __init__(self, run_dir: Path, meter: Meter | None, allowance: Allowance) -> None:
        self.breached = asyncio.Event()
        self.breach = ""
        self.most_disk_bytes = 0
        self._run_dir = run_dir
        self._meter = meter
        self._allowance = allowance
        self._used = 0
        self._files = 0
        self._used_before_cell = 0
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no longer."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def cell_begins(self) -> None:
        """Note what has been used so far."""
        self._used_before_cell = self._used
        if self._meter is not None:
            self._meter.begin()

    async def cell_ended(self) -> CellResources:
        """What the cell has used; a look at the disk goes with it."""
        use = self._meter.end() if self._meter is not None else None
        await self.look()
        written = max(self._used - self._used_before_cell, 0)
        cpu, memory = (use.cpu_seconds, use.peak_memory_bytes) if use is not None else (None, None)
        return CellResources(
            peak_memory_usage_bytes=memory,
            cpu_time_seconds=cpu,
            disk_usage_bytes=written,
            method=self._meter.method if self._meter is not None else None,
        )

    async def look(self, *, closely: bool = False) -> None:
        """Compare what the run uses now with what it may use; `closely` looks for removed files too."""
        # One more than allowed tells; a notebook that makes files by the million is not followed any further.
        max_files = self._allowance.files
        if closely or self._files > INLINE_FILES:
            found = await asyncio.to_thread(self._measure, max_files, closely)
        else:
            found = self._measure(INLINE_FILES, closely)
            if found.cut_off:
                found = await asyncio.to_thread(self._measure, max_files, closely)
        self._used, self._files = found.used, found.files
        self.most_disk_bytes = max(self.most_disk_bytes, found.used)
        self._judge(found)

    def _measure(self, max_files: int, closely: bool) -> Footprint:
        found = footprint.measure(self._run_dir, max_files=max_files)
        if closely and self._meter is not None:
            found.used += footprint.removed_but_open(self._run_dir, self._meter.processes())
        return found

    def _judge(self, found: Footprint) -> None:
        allowance = self._allowance
        cpu = self._meter.cpu_seconds() if self._meter is not None and allowance.cpu_seconds is not None else None
        if found.used > allowance.disk_bytes:
            self._report(f"disk limit of {wording.limit(allowance.disk_bytes)} reached")
        elif found.files > allowance.files:
            self._report(f"limit of {allowance.files} files reached")
        elif found.nested:
            self._report(f"limit of {footprint.MAX_DEPTH} nested folders reached")
        elif cpu is not None and allowance.cpu_seconds is not None and cpu > allowance.cpu_seconds:
            self._report(f"CPU time limit of {allowance.cpu_seconds} seconds reached")

    def _report(self, breach: str) -> None:
        if not self.breached.is_set():
            self.breach = breach
            self.breached.set()

    async def _watch(self) -> None:
        taken = Demand(self._meter) if self._meter is not None else None
        next_look = time.monotonic() + LOOK_S
        while not self.breached.is_set():
            await asyncio.sleep(demand.LOOK_S)
            if taken is not None:
                taken.look()
            began = time.monotonic()
            if began >= next_look:
                await self.look(closely=True)
                now = time.monotonic()
                next_look = now + max(LOOK_S, (now - began) / LOOK_SHARE)
