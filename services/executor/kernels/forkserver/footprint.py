"""The watchdog's eyes: memory and processes of each kernel, read from /proc, where no control group counts them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping

from services.executor.kernels.forkserver.confinement import Limits

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Footprints:
    """Sums over each keeper's descendants."""

    def __init__(self) -> None:
        self.peaks: dict[int, int] = {}

    def over(self, keepers: Mapping[int, Limits]) -> Iterator[tuple[int, str]]:
        """The keepers whose kernels use more than their limits allow, and of what."""
        if not keepers:
            return
        members = _descendants(set(keepers))
        for keeper, limits in keepers.items():
            pids = members[keeper]
            if limits.processes is not None and len(pids) > limits.processes:
                yield keeper, "processes"
                continue
            if limits.memory_bytes is None:
                continue
            # Cheap first: resident pages count shared ones too, so the sum is never less than the truth.
            if sum(_resident(pid) for pid in pids) > limits.memory_bytes:
                used = sum(_proportional(pid) for pid in pids)
                self.peaks[keeper] = max(self.peaks.get(keeper, 0), used)
                if used > limits.memory_bytes:
                    yield keeper, "memory"

    def forget(self, keeper: int) -> None:
        """A kernel has gone."""
        self.peaks.pop(keeper, None)


def _descendants(keepers: set[int]) -> dict[int, list[int]]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                    parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it ended while we looked
    members: dict[int, list[int]] = defaultdict(list)
    for pid in parents:
        above = pid
        for _ in range(len(parents)):
            above = parents.get(above, 0)
            if above in keepers:
                members[above].append(pid)
                break
            if above == 0:
                break
    return members


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """Shared pages counted by share: what forks have in common with the server is nearly nobody's."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 0
    return 0
