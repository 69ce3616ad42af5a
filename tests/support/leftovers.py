"""What runs must not leave behind on a stack's machine: processes, folders, sockets, descriptors, control groups,
shared memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from deploy.local import Stack

PATIENCE_S = 120.0
"""How long it may take until nothing of a run is left and the pool is full again, on a busy machine, in seconds."""

POLL_S = 0.05

STEADY_LOOKS = 10
"""So often the same must be seen: a run on its way out and a kernel not yet made look like a full pool."""

FORK_SERVER = "fork server"
"""Its name among those of the services."""

SLOTS = "slots"
"""Name of the worker's other processes, all together."""

OWN = ("template", "slot", "pools")
"""How their names begin."""

IPC_KEY, LEFT = 0x41544C, "atelier_left"
"""Of the System V objects that the hostile notebooks make, and how the names of their POSIX ones begin: where kernels
have no user of their own these tell."""

KERNEL_UIDS = range(200_000, 300_000)
"""Users of kernels (ATELIER_KERNEL_FIRST_UID and ATELIER_KERNEL_UIDS by default, and those of tests)."""

INODE = 6
"""Its column in /proc/net/unix (proc(5))."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What lies about, counted. `kernels` come from the pool and from runs that go on."""

    processes: int
    run_folders: int
    control_groups: int
    shared_objects: int

    @classmethod
    def of_idle(cls, kernels: int, *, control_groups: bool) -> Traces:
        """With so many kernels that wait or run: each has its keeper, its folder and perhaps its control group. Beside
        the fork server stands the maker of keepers."""
        return cls(
            processes=2 + 2 * kernels,
            run_folders=kernels,
            control_groups=kernels if control_groups else 0,
            shared_objects=0,
        )


class Leftovers:
    """Looks after one stack whose worker is its only one."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def gone(self, *, kernels: int) -> Traces:
        """Wait until just `kernels` are there and nothing of any other; fails when that does not come."""
        expected = Traces.of_idle(kernels, control_groups=bool(self._groups_of_server()))
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        steady = 0
        while True:
            found = await asyncio.to_thread(self.traces)
            steady = steady + 1 if found == expected else 0
            if steady == STEADY_LOOKS:
                return found
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"left behind: {found}, expected {expected}; there are {self.programs()}")
            await asyncio.sleep(POLL_S)

    async def hung_up(self) -> None:
        """Wait until the gateway has noticed that its callers' connections are closed; fails when it does not."""
        port = urlsplit(self._stack.url).port
        gateway = psutil.Process(self._stack.services["gateway"].pid)
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while calls := [c for c in gateway.net_connections("tcp") if c.laddr.port == port and c.raddr]:
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"the gateway still has {len(calls)} callers")
            await asyncio.sleep(POLL_S)

    def traces(self) -> Traces:
        """What is there now."""
        groups = self._groups_of_server()
        return Traces(
            processes=len(self._of_kernels()),
            run_folders=len(self.run_folders()),
            control_groups=len({child.name for group in groups for child in group.glob("k*") if child.is_dir()}),
            shared_objects=shared_objects(),
        )

    def programs(self) -> list[str]:
        """The worker's processes, as a person would want to see them."""
        shown = []
        for process in self._worker().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                shown.append(f"{process.pid} {process.status()} {process.name()} of {process.ppid()}")
        return shown

    def descriptors(self) -> dict[str, int]:
        """How many each service has open, and the worker's fork server."""
        found = {name: psutil.Process(service.pid).num_fds() for name, service in self._stack.services.items()}
        found[SLOTS] = sum(process.num_fds() for process in self._slots())
        found[FORK_SERVER] = sum(server.num_fds() for server in self._servers())
        return found

    def sockets(self) -> dict[str, int]:
        """How many local sockets hold the worker's processes: to kernels, to keepers, to each other."""
        return {
            "worker": unix_sockets(self._worker().pid),
            SLOTS: sum(unix_sockets(process.pid) for process in self._slots()),
            FORK_SERVER: sum(unix_sockets(server.pid) for server in self._servers()),
        }

    def memory(self) -> dict[str, int]:
        """Anonymous memory of each service, and of the worker's fork server, in bytes. What they map from files is left
        out: how much of that counts as theirs changes with whatever else on the machine maps the same."""
        found = {name: _anonymous(service.pid) for name, service in self._stack.services.items() if service.pid}
        found[SLOTS] = sum(_anonymous(process.pid) for process in self._slots())
        found[FORK_SERVER] = sum(_anonymous(server.pid) for server in self._servers())
        return found

    def work_files(self) -> int:
        """Files in the worker's folder that are not of a run, a cache's and the present ready kernels' apart."""
        root = self._stack.folder.data("worker")
        return sum(1 for path in root.rglob("*") if path.is_file() and not self._of_kernel(path))

    def run_folders(self) -> list[Path]:
        """Folders of runs and of ready kernels."""
        root = self._stack.folder.data("worker") / "runs"
        return [path.parent for depth in ("*/*", "*/*/*") for path in root.glob(f"{depth}/outputs")]

    def _of_kernel(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.run_folders())

    def _worker(self) -> psutil.Process:
        return psutil.Process(self._stack.worker.pid)

    def _slots(self) -> list[psutil.Process]:
        """The worker's processes that are its own program: slots, the one that keeps kernels, and their template."""
        return [process for process in self._worker().children(recursive=True) if _is_own(process)]

    def _servers(self) -> list[psutil.Process]:
        """The fork server."""
        return [child for child in self._worker().children() if not _is_own(child)]

    def _of_kernels(self) -> list[psutil.Process]:
        """The fork server, and all that it has started."""
        return [process for process in self._worker().children(recursive=True) if not _is_own(process)]

    def _groups_of_server(self) -> list[Path]:
        """The fork server's control groups, one a controller with version 1."""
        servers = [child.pid for child in self._worker().children(recursive=True)]
        begin = tuple(f"atelier-{pid}-" for pid in servers)
        # Not by glob: groups of others come and go meanwhile, which os.walk puts up with.
        walk = os.walk("/sys/fs/cgroup")
        return [Path(root, name) for root, folders, _ in walk for name in folders if name.startswith(begin)]


def _is_own(process: psutil.Process) -> bool:
    try:
        return process.name().partition("-")[0] in OWN
    except psutil.NoSuchProcess:
        return False


def _anonymous(pid: int | None) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    return 0


def unix_sockets(pid: int) -> int:
    """Open descriptors of a process that are unix sockets (by their inodes, as lsof tells)."""
    lines = Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    known = {line.split()[INODE] for line in lines}
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kind, _, inode = str(descriptor.readlink()).partition(":")
            found += kind == "socket" and inode.strip("[]") in known
    return found


def shared_objects() -> int:
    """System V and POSIX shared memory, semaphores and message queues of kernels' users, or of a hostile notebook, on
    the machine itself: outside of every sandbox."""
    found = 0
    for kind in ("shm", "sem", "msg"):
        header, *lines = Path("/proc/sysvipc", kind).read_text(encoding="ascii").splitlines()
        owner = header.split().index("uid")
        rows = [line.split() for line in lines]
        found += sum(int(row[0]) == IPC_KEY or int(row[owner]) in KERNEL_UIDS for row in rows)
    for folder in ("/dev/shm", "/dev/mqueue"):
        for path in Path(folder).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                found += path.name.startswith(LEFT) or path.stat().st_uid in KERNEL_UIDS
    return found
