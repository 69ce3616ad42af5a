"""What runs must not leave behind on a stack's machine: processes, folders, sockets, descriptors, control groups."""

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

IPC_KEY = 0x41544C
"""Of the System V objects that the hostile notebooks make."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What lies about, counted. `kernels` come from the pool and from runs that go on."""

    processes: int
    run_folders: int
    control_groups: int
    kernel_sockets: int
    shared_objects: int

    @classmethod
    def of_idle(cls, kernels: int, *, control_groups: bool) -> Traces:
        """With so many kernels that wait or run: each has its keeper, its folder and perhaps its control group."""
        return cls(
            processes=1 + 2 * kernels,
            run_folders=kernels,
            control_groups=kernels if control_groups else 0,
            kernel_sockets=0,
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
            processes=len(self._worker().children(recursive=True)),
            run_folders=len(self.run_folders()),
            control_groups=len({child.name for group in groups for child in group.glob("k*") if child.is_dir()}),
            kernel_sockets=self._kernel_sockets(),
            shared_objects=_shared_objects(),
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
        found[FORK_SERVER] = sum(child.num_fds() for child in self._worker().children())
        return found

    def memory(self) -> dict[str, int]:
        """Proportional memory of each service, and of the worker's fork server, in bytes."""
        found = {name: _proportional(service.pid) for name, service in self._stack.services.items() if service.pid}
        found[FORK_SERVER] = sum(_proportional(child.pid) for child in self._worker().children())
        return found

    def work_files(self) -> int:
        """Files in the worker's folder that are not of a run, a cache's and the present ready kernels' apart."""
        root = self._stack.folder.data("worker")
        return sum(1 for path in root.rglob("*") if path.is_file() and not self._of_kernel(path))

    def run_folders(self) -> list[Path]:
        """Folders of runs and of ready kernels."""
        return [path.parent for path in self._stack.folder.data("worker").glob("runs/*/*/outputs")]

    def _of_kernel(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.run_folders())

    def _worker(self) -> psutil.Process:
        return psutil.Process(self._stack.worker.pid)

    def _groups_of_server(self) -> list[Path]:
        """The fork server's control groups, one a controller with version 1."""
        servers = [child.pid for child in self._worker().children(recursive=True)]
        begin = tuple(f"atelier-{pid}-" for pid in servers)
        # Not by glob: groups of others come and go meanwhile, which os.walk puts up with.
        walk = os.walk("/sys/fs/cgroup")
        return [Path(root, name) for root, folders, _ in walk for name in folders if name.startswith(begin)]

    def _kernel_sockets(self) -> int:
        """Names of kernels' sockets that still lie in a run folder: they go when the kernel has been met."""
        return sum(1 for folder in self.run_folders() for path in folder.glob("k/s-*") if path.is_socket())


def _proportional(pid: int | None) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _shared_objects() -> int:
    """Shared memory and semaphores of hostile notebooks on the machine itself, outside of every sandbox."""
    found = 0
    for kind in ("shm", "sem", "msg"):
        lines = Path("/proc/sysvipc", kind).read_text(encoding="ascii").splitlines()[1:]
        found += sum(int(line.split()[0]) == IPC_KEY for line in lines)
    return found + len(list(Path("/dev/shm").glob("atelier_left*")))
