"""What the processes of a kernel's session use, and their end, read from /proc (proc(5))."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from services.executor.kernels.port import Usage

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
"""Unit of the CPU times in /proc/PID/stat."""

SESSION, UTIME, STIME, CUTIME, CSTIME = 3, 11, 12, 13, 14
"""Fields of /proc/PID/stat counted from the one after the command's name (state is 0)."""

METHOD = "proc"
"""How usage was measured, for `resources.method`."""


def _stat(pid: str) -> list[str] | None:
    try:
        text = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def session_members(leader: int) -> list[int]:
    """The processes of a session."""
    return [
        int(pid)
        for pid in (entry.name for entry in Path("/proc").iterdir())
        if pid.isdigit() and (fields := _stat(pid)) and fields[SESSION] == str(leader)
    ]


def usage_of_session(leader: int) -> Usage | None:
    """CPU seconds and peak memory over all processes of a session; None when there are none any more."""
    ticks = peak_kib = 0
    members = session_members(leader)
    for pid in members:
        fields = _stat(str(pid))
        if fields is None:
            continue
        ticks += sum(int(fields[index]) for index in (UTIME, STIME, CUTIME, CSTIME))
        peak_kib += _peak_kib(pid)
    if not members:
        return None
    return Usage(cpu_seconds=ticks / TICKS_PER_S, peak_memory_bytes=peak_kib * 1024, method=METHOD)


def _peak_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc", str(pid), "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def kill_session(leader: int) -> None:
    """Kill what is left of a session after its leader has gone."""
    for pid in session_members(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
