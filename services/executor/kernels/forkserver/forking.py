"""Forks kernels: a free user, a control group, a keeper with its channel to the server, and the kernel itself.

With a pid namespace the keeper comes from the maker, and a kernel of the server's imports joins it; without one the
keeper is a fork of the server, and the kernel a fork of the keeper.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Collection
from typing import Any

from services.executor.kernels.forkserver import keeper, system
from services.executor.kernels.forkserver.cgroups import Group, GroupLimits, Groups
from services.executor.kernels.forkserver.clients import Client
from services.executor.kernels.forkserver.confinement import Plan, Spawn
from services.executor.kernels.forkserver.maker import Maker, MakerGone


class Entry:
    """One kernel from its request until nothing of it is left. `main` is what it runs, where it is the server's own
    child and `pid` only its keeper."""

    def __init__(
        self, spawn: Spawn, pid: int, channel: socket.socket, group: Group | None, main: keeper.Main | None
    ) -> None:
        self.spawn = spawn
        self.pid = pid
        self.channel: socket.socket | None = channel
        self.group = group
        self.main = main
        self.kernel: int | None = None
        self.report: int | None = None
        self.status: int | None = None
        self.cpu_seconds = 0.0
        self.peak_memory_bytes = 0
        self.reaped = False
        self.told_end = False
        self.cause: str | None = None
        self.overdue: float | None = None
        self.owner: Client | None = None
        self.told: list[dict[str, Any]] = []


class Forker:
    """What every fork of this server has in common. `libraries` are descriptors that imports have left open. Made
    before anything is imported."""

    def __init__(self, plan: Plan, groups: Groups | None, uids: range | None) -> None:
        self.plan = plan
        self.groups = groups
        self.libraries: set[int] = set()
        self._uids = uids
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._maker = Maker(plan) if plan.has("pid") else None

    def fork(self, spawn: Spawn, main: keeper.Main) -> Entry:
        """A keeper, and beside it a confined process that runs `main`, or the command of `spawn`. Raises OSError."""
        limits = spawn.limits
        group = None
        if self.groups is not None:
            group = self.groups.make(
                f"k{spawn.id}",
                GroupLimits(memory_bytes=limits.memory_bytes, processes=limits.processes, processors=limits.processors),
            )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            if self._maker is not None:
                pid = self._make_keeper(spawn, group, theirs)
            else:
                pid = os.fork()
                if pid == 0:
                    keeper.keep(self.plan, spawn, group, theirs, self.libraries, keeper.execute if spawn.argv else main)
        except OSError:
            ours.close()
            if group is not None:
                group.remove()
            raise
        finally:
            theirs.close()
        return Entry(spawn, pid, ours, group, main if self._maker is not None and not spawn.argv else None)

    def _make_keeper(self, spawn: Spawn, group: Group | None, channel: socket.socket) -> int:
        assert self._maker is not None  # noqa: S101 - asked before
        try:
            return self._maker.make(spawn, group, channel)
        except MakerGone:
            # A new one is as large as the server is by now: its keepers cost more, but no run is lost.
            self._maker.close()
            self._maker = Maker(self.plan)
            return self._maker.make(spawn, group, channel)

    def admit(self, entry: Entry, namespaces: list[int]) -> None:
        """Fork the kernel into the `namespaces` of its keeper, of which the first is that of processes. Raises
        OSError."""
        assert entry.main is not None  # noqa: S101 - only such a keeper asks
        report, bound = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            system.setns(namespaces[0], system.CLONE_NEWPID)
            pid = os.fork()
            if pid == 0:
                keeper.join(self.plan, entry.spawn, entry.group, namespaces[1:], self.libraries, entry.main, bound)
        except OSError:
            os.close(report)
            raise
        finally:
            os.close(bound)
            system.setns(self._own_pid_namespace, system.CLONE_NEWPID)
        entry.kernel, entry.report = pid, report

    def free_uid(self, entries: Collection[Entry] = ()) -> int | None:
        """A user that no run here has. Several servers on one machine choose from the same range, hence at random."""
        if self._uids is None:
            return None
        taken = {entry.spawn.uid for entry in entries}
        while (uid := random.choice(self._uids)) in taken:  # noqa: S311 - no secret
            continue
        return uid
