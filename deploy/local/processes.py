"""Starts detached processes and knows them again later: by pid, start time, boot and folder, never by name.

A pid alone is recycled by the kernel, so a record also holds the start time and the boot it belongs to. The folder's
inode is part of it too: a checkout that was copied together with its records must not stop the original's processes.
"""

import atexit
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.02  # how often a waiting loop looks; short, because most processes here end within 100 ms
KILL_SECONDS = 5.0  # how long the kernel may take to remove a process after SIGKILL (it frees the memory first)
REAP_SECONDS = 1.0  # how long init may take; a container's first process may never do it
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

_children: dict[int, "subprocess.Popen[bytes]"] = {}
"""Processes this interpreter started itself: they must be reaped, or they stay as zombies until it ends."""


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """What is needed to find a process again and to be sure that it is the same one."""

    pid: int
    started: int  # clock ticks between the boot and the start of the process
    boot: str  # the kernel's random id of the present boot
    place: str = ""  # the stack folder's device and inode
    fingerprint: str = ""  # of what it was started with; a difference means that it has to be restarted

    @classmethod
    def of(cls, pid: int, *, place: str = "", fingerprint: str = "") -> "ProcessRecord | None":
        """The record of a running process, or None when there is none with this pid."""
        started = _start_ticks(pid)
        if started is None:
            return None
        return cls(pid=pid, started=started, boot=boot_id(), place=place, fingerprint=fingerprint)

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        alive = self.boot == boot_id() and _start_ticks(self.pid) == self.started
        if not alive:
            _reap(self.pid)
        return alive

    def send(self, number: signal.Signals) -> None:
        """Signals this process, and never one that took over its pid."""
        try:
            handle = os.pidfd_open(self.pid)
        except (ProcessLookupError, OSError):
            return
        try:
            if self.is_alive():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def seconds_up(self) -> float:
        """Seconds since the process was started."""
        since_boot = float((PROC / "uptime").read_text().split()[0])
        return max(0.0, since_boot - self.started / CLOCK_TICKS)

    def save(self, path: Path) -> None:
        """Writes the record in one step, so that a reader never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> "ProcessRecord | None":
        """The record in a file; None when there is no file or nothing usable in it."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def boot_id() -> str:
    """The kernel's id of the present boot; start times are only comparable within one."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, uid: int | None = None, gid: int | None = None
) -> int:
    """Starts a process in a session of its own, with its output appended to `log`; returns its pid.

    Raises FileNotFoundError when the program does not exist.
    """
    reap_ended()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )
    _children[process.pid] = process
    return process.pid


def descendants(roots: Iterable[ProcessRecord]) -> list[ProcessRecord]:
    """Every living process below the given ones, whatever its session or user."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat_fields(pid)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(pid)
    found: list[ProcessRecord] = []
    waiting = [root.pid for root in roots if root.is_alive()]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            record = ProcessRecord.of(pid)
            if record is not None:
                found.append(record)
                waiting.append(pid)
    return found


def marked(markers: Iterable[bytes]) -> list[ProcessRecord]:
    """Every living process whose environment holds an entry that starts with one of the markers.

    This finds what has left its parent and session (a daemonised epmd, an orphaned kernel). A user who is not root
    cannot see other users' environments; none of ours can be among them then.
    """
    wanted = tuple(markers)
    found: list[ProcessRecord] = []
    for pid in _pids():
        if pid == os.getpid():
            continue
        try:
            entries = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(entry.startswith(wanted) for entry in entries):
            record = ProcessRecord.of(pid)
            if record is not None:
                found.append(record)
    return found


def end(records: Sequence[ProcessRecord], steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Ends processes: each step sends a signal and waits so many seconds; SIGKILL is always the last step."""
    for number, seconds in (*steps, (signal.SIGKILL, KILL_SECONDS)):
        living = [record for record in records if record.is_alive()]
        if not living:
            return
        for record in living:
            record.send(number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(record.is_alive() for record in living):
            time.sleep(POLL_SECONDS)


def wait_until_reaped(records: Sequence[ProcessRecord]) -> None:
    """Waits a moment for init to take ended processes off the process table; returns in any case."""
    deadline = time.monotonic() + REAP_SECONDS
    while time.monotonic() < deadline and any(_stat_fields(record.pid) for record in records if not record.is_alive()):
        time.sleep(POLL_SECONDS)


def reap_ended() -> None:
    """Takes all ended children off the process table, also those that ended after nobody waited for them any more."""
    for pid in list(_children):
        _reap(pid)


atexit.register(reap_ended)


def memory_bytes(root: ProcessRecord) -> int:
    """Memory of a process and all below it in bytes, shared pages counted by share (PSS)."""
    return sum(_pss_bytes(record.pid) for record in [root, *descendants([root])])


def _pss_bytes(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0  # it has just ended
    return 0


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name (0 is the state, 1 the parent, 19 the start time); see proc(5)."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _start_ticks(pid: int) -> int | None:
    fields = _stat_fields(pid)
    if fields is None or fields[0] in {"Z", "X"}:
        return None
    return int(fields[19])


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        _children.pop(pid, None)
