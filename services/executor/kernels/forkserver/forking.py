"""Forks kernels: a free user, a control group, a pid namespace, and a keeper with its channel to the server."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Collection

from services.executor.kernels.forkserver import keeper, system
from services.executor.kernels.forkserver.cgroups import Group, GroupLimits, Groups
from services.executor.kernels.forkserver.confinement import Plan, Spawn


class Entry:
    """One kernel from its request until nothing of it is left."""

    def __init__(self, spawn: Spawn, pid: int, channel: socket.socket, group: Group | None) -> None:
        self.spawn = spawn
        self.pid = pid
        self.channel: socket.socket | None = channel
        self.group = group
        self.reaped = False
        self.told_end = False
        self.cause: str | None = None
        self.overdue: float | None = None


class Forker:
    """What every fork of this server has in common. `libraries` are descriptors that imports have left open."""

    def __init__(self, plan: Plan, groups: Groups | None, uids: range | None) -> None:
        self.plan = plan
        self.groups = groups
        self.libraries: set[int] = set()
        self._uids = uids
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def fork(self, spawn: Spawn, main: keeper.Main) -> Entry:
        """A confined process that runs `main`, or the command of `spawn`. Raises OSError."""
        limits = spawn.limits
        group = None
        if self.groups is not None:
            group = self.groups.make(
                f"k{spawn.id}",
                GroupLimits(memory_bytes=limits.memory_bytes, processes=limits.processes, processors=limits.processors),
            )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            if self.plan.has("pid"):
                system.unshare(system.CLONE_NEWPID)
            pid = os.fork()
            if pid == 0:
                keeper.keep(self.plan, spawn, group, theirs, self.libraries, main)
        except OSError:
            ours.close()
            if group is not None:
                group.remove()
            raise
        finally:
            theirs.close()
            if self.plan.has("pid"):
                system.setns(self._own_pid_namespace, system.CLONE_NEWPID)
        return Entry(spawn, pid, ours, group)

    def free_uid(self, entries: Collection[Entry] = ()) -> int | None:
        """A user that no run here has. Several servers on one machine choose from the same range, hence at random."""
        if self._uids is None:
            return None
        taken = {entry.spawn.uid for entry in entries}
        while (uid := random.choice(self._uids)) in taken:  # noqa: S311 - no secret
            continue
        return uid
