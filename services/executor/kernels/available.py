"""How much memory there is for kernels: what the machine can give, and what a container or unit leaves of its limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")

VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
VERSION_2 = ("memory.max", "memory.current", "inactive_file")
"""Files of a limit and of what is used, and the part of that which goes when it is needed (an entry of memory.stat)."""


def memory_bytes(proc: Path = Path("/proc"), groups: Path = GROUPS) -> int:
    """What can be had without swapping."""
    return min([_of_machine(proc / "meminfo"), *_of_groups(proc / "self" / "cgroup", groups)])


def _of_machine(meminfo: Path) -> int:
    for line in meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _of_groups(own: Path, groups: Path) -> Iterator[int]:
    """What is left in this process's group and in those around it, as far as they can be seen."""
    for line in own.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (groups / "memory", VERSION_1) if controllers else (groups, VERSION_2)
        folder = root / path.lstrip("/")
        for one in (folder, *folder.parents):
            if one.is_relative_to(root) and (left := _left_in(one, *names)) is not None:
                yield left


def _left_in(folder: Path, limit: str, used: str, spare: str) -> int | None:
    try:
        most = (folder / limit).read_text(encoding="ascii").strip()
        if not most.isdigit():
            return None  # no limit
        entries = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        taken = int((folder / used).read_text(encoding="ascii")) - int(entries.get(spare, 0))
    except (OSError, ValueError):
        return None
    return max(0, int(most) - taken)
