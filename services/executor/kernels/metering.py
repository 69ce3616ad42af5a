"""What a kernel uses while it runs, read by open descriptors: cheap enough to be asked before and after each cell."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

TICKS_PER_S, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
"""Units of /proc/PID/stat and /proc/PID/statm (proc(5))."""

WEIGHTS, LOW_WEIGHTS = {1: b"1024\n", 2: b"100\n"}, {1: b"64\n", 2: b"6\n"}
"""What a group counts for when processors are shared out, by the version of control groups: usually (the systems' own
defaults), and when it gives way."""

READ_BYTES = 4096
"""The files of control groups and of a process are shorter."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """What was used between `begin` and `end`; None: cannot be told."""

    cpu_seconds: float | None
    peak_memory_bytes: int | None


class Meter(Protocol):
    """Of one kernel. Reading takes some microseconds and never fails: what cannot be told is None."""

    method: str

    def begin(self) -> None:
        """A cell begins."""

    def end(self) -> Use:
        """What has been used since `begin`."""

    def cpu_seconds(self) -> float | None:
        """Processor time since the kernel's start, of all its processes as far as `method` sees them."""

    def peak_memory_bytes(self) -> int | None:
        """The most memory seen so far."""

    def processes(self) -> list[int]:
        """The processes of the kernel by their numbers here, as far as they can be told."""

    def give_way(self, *, gives_way: bool) -> None:
        """Have other kernels' processes go before this one's, or be its equals again, where that can be had."""

    def close(self) -> None:
        """Let go of the descriptors."""


class _Counter:
    """One small file of numbers, kept open."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        try:
            self._descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    @property
    def is_open(self) -> bool:
        """Whether the file is there and may be opened so."""
        return self._descriptor >= 0

    def text(self) -> bytes:
        """Its content; empty when it cannot be read (any more)."""
        if self._descriptor < 0:
            return b""
        try:
            return os.pread(self._descriptor, READ_BYTES, 0)
        except OSError:
            return b""

    def number(self) -> int | None:
        """Its one number."""
        text = self.text().strip()
        return int(text) if text.isdigit() else None

    def write(self, value: bytes) -> bool:
        """Whether it took `value`."""
        if self._descriptor < 0:
            return False
        try:
            os.pwrite(self._descriptor, value, 0)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _PeakBySamples:
    """A cell's peak where the counter of the highest use cannot be set back: exact when the cell raised it, else the
    larger of what was used at the cell's beginning and at its end, which is the least it can have been."""

    def __init__(self) -> None:
        self._at_begin: int | None = None
        self._highest: int | None = None

    def begin(self, current: int | None, highest: int | None) -> None:
        self._at_begin, self._highest = current, highest

    def end(self, current: int | None, highest: int | None) -> int | None:
        if highest is not None and (self._highest is None or highest > self._highest):
            return highest
        return max((value for value in (self._at_begin, current) if value is not None), default=None)


class GroupMeter:
    """By the kernel's control group: all of its processes, ended ones included. `folders` is the server's notice."""

    method = "cgroup"

    def __init__(self, folders: dict[str, Any]) -> None:
        first = folders["version"] == 1
        memory = Path(folders["memory"])
        cpu = Path(folders.get("cpu") or memory)
        self._first = first
        self._cpu = _Counter(cpu / ("cpuacct.usage" if first else "cpu.stat"))
        self._current = _Counter(memory / ("memory.usage_in_bytes" if first else "memory.current"))
        peak = memory / ("memory.max_usage_in_bytes" if first else "memory.peak")
        self._peak = _Counter(peak, writable=True)
        if not self._peak.is_open:
            self._peak = _Counter(peak)
        self._members = _Counter(memory / "cgroup.procs")
        self._weight = _Counter(Path(folders["weight"]), writable=True) if folders["weight"] else None
        self._highest = 0
        self._was_reset = False
        self._samples = _PeakBySamples()
        self._cpu_at_begin: float | None = None

    def begin(self) -> None:
        """See Meter. Version 1, and 2 from Linux 6.12 on, let the highest use be set back to the present one."""
        self._cpu_at_begin = self.cpu_seconds()
        highest = self.peak_memory_bytes()
        self._was_reset = self._peak.write(b"0")
        if not self._was_reset:
            self._samples.begin(self._current.number(), highest)

    def end(self) -> Use:
        """See Meter."""
        peak = self._peak.number()
        if not self._was_reset:
            peak = self._samples.end(self._current.number(), peak)
        self._highest = max(self._highest, peak or 0)
        return Use(cpu_seconds=_since(self._cpu_at_begin, self.cpu_seconds()), peak_memory_bytes=peak)

    def cpu_seconds(self) -> float | None:
        """See Meter."""
        if self._first:
            nanoseconds = self._cpu.number()
            return None if nanoseconds is None else nanoseconds / 1e9
        for line in self._cpu.text().splitlines():
            if line.startswith(b"usage_usec "):
                return int(line.split()[1]) / 1e6
        return None

    def peak_memory_bytes(self) -> int | None:
        """See Meter."""
        peak = self._peak.number()
        if peak is not None:
            self._highest = max(self._highest, peak)
        return self._highest or None

    def processes(self) -> list[int]:
        """See Meter."""
        return [int(pid) for pid in self._members.text().split() if pid.isdigit()]

    def give_way(self, *, gives_way: bool) -> None:
        """See Meter."""
        if self._weight is not None:
            self._weight.write((LOW_WEIGHTS if gives_way else WEIGHTS)[1 if self._first else 2])

    def close(self) -> None:
        """See Meter."""
        for counter in (self._cpu, self._current, self._peak, self._members, self._weight):
            if counter is not None:
                counter.close()


class ProcessMeter:
    """By /proc: the kernel's process and those of its children that it has waited for."""

    method = "proc"

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stat = _Counter(Path("/proc", str(pid), "stat"))
        self._statm = _Counter(Path("/proc", str(pid), "statm"))
        self._status = _Counter(Path("/proc", str(pid), "status"))
        self._samples = _PeakBySamples()
        self._cpu_at_begin: float | None = None

    def begin(self) -> None:
        """See Meter."""
        self._cpu_at_begin = self.cpu_seconds()
        self._samples.begin(self._resident(), self.peak_memory_bytes())

    def end(self) -> Use:
        """See Meter."""
        peak = self._samples.end(self._resident(), self.peak_memory_bytes())
        return Use(cpu_seconds=_since(self._cpu_at_begin, self.cpu_seconds()), peak_memory_bytes=peak)

    def cpu_seconds(self) -> float | None:
        """See Meter."""
        fields = self._stat.text().rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS_PER_S if len(fields) > 14 else None

    def peak_memory_bytes(self) -> int | None:
        """See Meter."""
        for line in self._status.text().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
        return None

    def _resident(self) -> int | None:
        fields = self._statm.text().split()
        return int(fields[1]) * PAGE_BYTES if len(fields) > 1 else None

    def processes(self) -> list[int]:
        """See Meter."""
        return [self._pid]

    def give_way(self, *, gives_way: bool) -> None:
        """See Meter. Priorities of single processes could not be raised again."""

    def close(self) -> None:
        """See Meter."""
        for counter in (self._stat, self._statm, self._status):
            counter.close()


def kernel_beside(keeper: int) -> int | None:
    """The kernel's process, by its keeper's."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text(encoding="ascii").split()[0])
    return None


def _since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else round(max(now - before, 0.0), 6)
