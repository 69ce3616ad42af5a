"""Control groups, version 1 or 2: one group a kernel for memory, processes and a fair share of the processors."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "atelier-"
"""Beginning of the name of a server's group, followed by the server's process id, what namespace that is a number of,
and a random part."""

REMOVE_TRIES, REMOVE_PAUSE_S = 50, 0.01
"""How often, and with what pause in seconds, an abandoned group is tried whose processes are on their way out."""

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")

PERIOD_US = 100_000
"""Length over which a processor quota is kept, in microseconds (the kernel's default)."""


@dataclass(frozen=True, kw_only=True)
class GroupLimits:
    """What one kernel may use; None: no limit."""

    memory_bytes: int | None = None
    processes: int | None = None
    processors: float | None = None


@dataclass
class Group:
    """The group of one kernel: a folder for each controller (version 1) or one for all (version 2)."""

    folders: dict[str, Path]
    version: int
    removed: bool = field(default=False)

    def enter(self) -> None:
        """Move the calling process in. Raises OSError."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text("0", encoding="ascii")

    def limit(self, limits: GroupLimits) -> None:
        """Set the limits. Raises OSError."""
        if limits.memory_bytes is not None and "memory" in self.folders:
            self._write("memory", "memory.limit_in_bytes", "memory.max", str(limits.memory_bytes))
            with contextlib.suppress(OSError):  # there may be no swap to keep kernels out of
                swap = str(limits.memory_bytes) if self.version == 1 else "0"
                self._write("memory", "memory.memsw.limit_in_bytes", "memory.swap.max", swap)
        if limits.processes is not None and "pids" in self.folders:
            self._write("pids", "pids.max", "pids.max", str(limits.processes))
        if limits.processors is not None and "cpu" in self.folders:
            quota = int(limits.processors * PERIOD_US)
            value = str(quota) if self.version == 1 else f"{quota} {PERIOD_US}"
            self._write("cpu", "cpu.cfs_quota_us", "cpu.max", value)

    def _write(self, controller: str, first: str, second: str, value: str) -> None:
        name = first if self.version == 1 else second
        (self.folders[controller] / name).write_text(value, encoding="ascii")

    def notice(self) -> dict[str, object]:
        """Where the worker can read what the group uses, and say how much its processes count."""
        used, shared_out = self.folders.get("cpuacct" if self.version == 1 else "cpu"), self.folders.get("cpu")
        return {
            "version": self.version,
            "memory": str(self.folders["memory"]),
            "cpu": str(used) if used else None,
            "weight": str(shared_out / ("cpu.shares" if self.version == 1 else "cpu.weight")) if shared_out else None,
        }

    def cpu_seconds(self) -> float | None:
        """What its processes have used."""
        if self.version == 1:
            nanoseconds = self._number("cpuacct", "cpuacct.usage")
            return nanoseconds / 1e9 if nanoseconds is not None else None
        microseconds = self._entry("cpu", "cpu.stat", "usage_usec")
        return microseconds / 1e6 if microseconds is not None else None

    def peak_memory_bytes(self) -> int | None:
        """The most its processes have used together."""
        return self._number("memory", "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak")

    def out_of_memory(self) -> bool:
        """Whether a process was killed for going over the memory limit."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return bool(self._entry("memory", name, "oom_kill"))

    def _number(self, controller: str, name: str) -> int | None:
        try:
            return int((self.folders[controller] / name).read_text(encoding="ascii"))
        except (KeyError, OSError, ValueError):
            return None

    def _entry(self, controller: str, name: str, key: str) -> int | None:
        try:
            for line in (self.folders[controller] / name).read_text(encoding="ascii").splitlines():
                if line.startswith(key + " "):
                    return int(line.split()[1])
        except (KeyError, OSError, ValueError):
            return None
        return None

    def remove(self) -> bool:
        """Remove the folders; False while a process is still on its way out."""
        self.removed = True
        for folder in set(self.folders.values()):
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                self.removed = False
        return self.removed


class Groups:
    """Where groups can be made: below the group this process is in. `controllers` tells which limits hold."""

    def __init__(self) -> None:
        self.version = 0
        self._base: dict[str, Path] = {}
        name = f"{PREFIX}{os.getpid()}-{_own_pid_namespace()}-{os.urandom(3).hex()}"
        for version, found in ((2, _version_2()), (1, _version_1())):
            usable = {}
            for controller, parent in found.items():
                _clear_abandoned(parent)
                base = parent / name
                try:
                    base.mkdir(exist_ok=True)
                    (base / "probe").mkdir(exist_ok=True)
                    (base / "probe").rmdir()
                except OSError:
                    continue
                usable[controller] = base
            if "memory" in usable:
                self.version, self._base = version, usable
                return
            for base in set(usable.values()):
                base.rmdir()

    @property
    def controllers(self) -> list[str]:
        """Which limits are kept by control groups here."""
        return sorted(self._base)

    def make(self, name: str, limits: GroupLimits) -> Group:
        """A group with limits. Raises OSError."""
        group = Group({controller: base / name for controller, base in self._base.items()}, self.version)
        for folder in set(group.folders.values()):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            group.limit(limits)
        except OSError:
            group.remove()
            raise
        return group

    def close(self) -> None:
        """Remove what was made; groups with a process in them stay."""
        for base in set(self._base.values()):
            _remove_tree(base)


def _version_1() -> dict[str, Path]:
    """Each controller's folder of the group this process is in."""
    mounts: dict[str, tuple[str, Path]] = {}
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == "cgroup":
            root, point = left.split()[3:5]
            for option in right.split()[2].split(","):
                if option in CONTROLLERS:
                    mounts[option] = (root, Path(point))
    found = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name in mounts:
                root, folder = mounts[name]
                inner = path.removeprefix(root) if root != "/" else path
                found[name] = folder / inner.lstrip("/")
    return found


def _version_2() -> dict[str, Path]:
    """The folder of the group this process is in, for the controllers that its children can have."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        if not line.startswith("0::"):
            continue
        for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            folder = Path(mount + line[3:])
            handed_on = folder / "cgroup.subtree_control"
            if not handed_on.exists():
                continue
            # Refused where processes are in the group itself, unless it is the root: then limits are kept otherwise.
            for controller in ("memory", "pids", "cpu"):
                with contextlib.suppress(OSError):
                    handed_on.write_text(f"+{controller}", encoding="ascii")
            return {name: folder for name in handed_on.read_text(encoding="ascii").split() if name in CONTROLLERS}
    return {}


def _clear_abandoned(parent: Path) -> None:
    """End what servers that are gone have left, and remove their groups. Of a server's own number is judged only in
    the namespace that it is a number of: elsewhere another process has it, or none."""
    with contextlib.suppress(OSError):
        for base in parent.glob(f"{PREFIX}*-{_own_pid_namespace()}-*"):
            owner = base.name.removeprefix(PREFIX).partition("-")[0]
            if Path("/proc", owner).exists():
                continue
            for _ in range(REMOVE_TRIES):
                if not _kill_members(base):
                    break
                time.sleep(REMOVE_PAUSE_S)
            _remove_tree(base)


def _own_pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _kill_members(base: Path) -> bool:
    """Whether there were any. Without a pid namespace a kernel's children outlive a server that was killed."""
    found = False
    for listing in base.glob("*/cgroup.procs"):
        with contextlib.suppress(OSError):  # the last one has just ended
            for pid in map(int, listing.read_text(encoding="ascii").split()):
                if pid > 0:  # 0 stands for one of another namespace, and for all of ours
                    found = True
                    os.kill(pid, signal.SIGKILL)
    return found


def _remove_tree(base: Path) -> None:
    with contextlib.suppress(OSError):
        for child in base.iterdir():
            if child.is_dir():
                child.rmdir()
        base.rmdir()
