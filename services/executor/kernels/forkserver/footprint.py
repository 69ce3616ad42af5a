"""The watchdog's eyes: memory and processes of each kernel, read from /proc, where no control group counts them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping

from services.executor.kernels.forkserver.confinement import Limits

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


IN_MEMORY = ("tmp", "dev/shm")
"""Of a kernel's view, file systems that lie in memory."""


class Footprints:
    """Sums over each keeper's descendants; `in_views` where each has file systems in memory of its own."""

    def __init__(self, *, in_views: bool = False) -> None:
        self._in_views = in_views
        self._peaks: dict[int, int] = {}
        self._seen: dict[int, int] = {}

    def over(self, keepers: Mapping[int, Limits], kernels: Mapping[int, int]) -> Iterator[tuple[int, str]]:
        """The keepers whose kernels use more than their limits allow, and of what. `kernels` are those that are not
        their keepers' children, with the keeper of each."""
        if not keepers:
            return
        members = _members(set(keepers), kernels)
        for keeper, limits in keepers.items():
            pids = members[keeper]
            if limits.processes is not None and len(pids) > limits.processes:
                yield keeper, "processes"
                continue
            if self._memory_of(keeper, pids, limits.memory_bytes):
                yield keeper, "memory"

    def _memory_of(self, keeper: int, pids: list[int], limit: int | None) -> bool:
        """Note a new peak; whether the limit is passed."""
        files = _files_in_memory(pids) if self._in_views else 0
        # Cheap first: resident pages count shared ones too, so the sum is never less than the truth.
        resident = files + sum(_resident(pid) for pid in pids)
        over = limit is not None and resident > limit
        if not over and resident <= self._seen.get(keeper, 0):
            return False
        self._seen[keeper] = max(resident, self._seen.get(keeper, 0))
        used = files + sum(_proportional(pid) for pid in pids)
        self._peaks[keeper] = max(self._peaks.get(keeper, 0), used)
        return limit is not None and used > limit

    def peak(self, keeper: int) -> int:
        """The most memory in bytes that was seen of a kernel's processes together; 0 when it was not looked at."""
        return self._peaks.get(keeper, 0)

    def forget(self, keeper: int) -> None:
        """A kernel has gone."""
        self._peaks.pop(keeper, None)
        self._seen.pop(keeper, None)


def _members(keepers: set[int], kernels: Mapping[int, int]) -> dict[int, list[int]]:
    """By keeper: the kernel itself and whatever descends from it or from the keeper, to whom orphans go."""
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
            if above in kernels:
                members[kernels[above]].append(pid)
                break
            above = parents.get(above, 0)
            if above in keepers:
                members[above].append(pid)
                break
            if above == 0:
                break
    return members


def _files_in_memory(pids: list[int]) -> int:
    """Bytes of the files that lie in the memory of a kernel's view."""
    for pid in pids:
        try:
            found = [os.statvfs(f"/proc/{pid}/root/{name}") for name in IN_MEMORY]
        except OSError:
            continue  # it has ended, or may not be looked at
        return sum((one.f_blocks - one.f_bfree) * one.f_frsize for one in found)
    return 0


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
