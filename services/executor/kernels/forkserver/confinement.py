"""Confines a process, layer by layer, in the one order that works; which layers hold here the probes decide."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.executor.kernels.forkserver import landlock, seccomp, system, view

SIOCSIFFLAGS, IFF_UP = 0x8914, 1

XCPU_GRACE_S = 2
"""Between the warning and the kill of a process over its processor time, in seconds."""

NAMESPACES = {
    "mount": system.CLONE_NEWNS,
    "net": system.CLONE_NEWNET,
    "ipc": system.CLONE_NEWIPC,
    "uts": system.CLONE_NEWUTS,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What this server does to each kernel, found out at its start."""

    layers: frozenset[str]
    stage: str
    etc: str
    environment: list[str]

    def has(self, layer: str) -> bool:
        """Whether a layer is applied."""
        return layer in self.layers


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one kernel may use, in bytes, pieces and seconds; None: no limit."""

    memory_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    open_files: int | None = None
    cpu_seconds: int | None = None
    processors: float | None = None


@dataclass(frozen=True, kw_only=True)
class Spawn:
    """One request for a kernel."""

    id: int
    run_dir: str
    connection_file: str
    environment: dict[str, str]
    limits: Limits
    threads: int
    uid: int | None = None
    argv: list[str] = field(default_factory=list)
    readable: list[str] = field(default_factory=list)
    links: list[tuple[str, int]] = field(default_factory=list)
    """Unix sockets and the ports of the kernel's own loopback interface that they lead to; see `forwarder`."""

    @classmethod
    def of(cls, message: dict[str, Any], uid: int | None, environment: list[str]) -> Spawn:
        """From the worker's message. What is readable beside `environment` is looked up once, here."""
        return cls(
            id=message["id"],
            run_dir=message["runDir"],
            connection_file=message["connectionFile"],
            environment=message["environment"],
            limits=Limits(**message["limits"]),
            threads=message["threads"],
            argv=message.get("argv") or [],
            readable=view.outermost(message.get("readable") or [], environment),
            links=[(path, port) for path, port in message.get("links") or []],
            uid=uid,
        )


def hand_over(run_dir: str, uid: int) -> None:
    """Give the kernel's user what it may write. Others of the owner's group keep their access, and get it to new files.

    Called before anything untrusted has run in the folder."""
    group = os.stat(run_dir).st_gid
    for name in view.WRITABLE:
        for root, folders, files in os.walk(f"{run_dir}/{name}"):
            os.chown(root, uid, group)
            os.chmod(root, 0o2770)  # noqa: S103 - nobody but the kernel's user and the worker's group
            for file in (*files, *(folder for folder in folders if os.path.islink(f"{root}/{folder}"))):
                os.chown(f"{root}/{file}", uid, group, follow_symlinks=False)


def enter_namespaces(plan: Plan, spawn: Spawn) -> None:
    """For the process that is to be pid 1: namespaces, a loopback of its own, the view. Raises OSError."""
    flags = 0
    for layer, flag in NAMESPACES.items():
        if plan.has(layer):
            flags |= flag
    if flags:
        system.unshare(flags)
    if plan.has("net"):
        raise_loopback()
    if plan.has("uts"):
        socket.sethostname("kernel")
    if plan.has("mount"):
        # A user of its own cannot write what the worker owns; without one the mounts see to that.
        guarded = spawn.uid is None
        # Programs of other languages look up who they run as, and do not start when nobody is found.
        account = spawn.uid if spawn.argv else None
        view.enter(
            plan.stage, plan.etc, [*plan.environment, *spawn.readable], spawn.run_dir, guarded=guarded, account=account
        )


def raise_loopback() -> None:
    """Bring up the loopback interface of this network namespace: programs that look for one find one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as descriptor:
        fcntl.ioctl(descriptor, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def enter_user_namespace() -> None:
    """An unprivileged process gets its privileges over kernels, and over nothing else, from a user namespace. Its next
    child is process 1 of a pid namespace. Raises OSError."""
    uid, gid = os.getuid(), os.getgid()
    system.unshare(system.CLONE_NEWUSER | system.CLONE_NEWPID | system.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def user_namespace_is_of_use() -> bool:
    """Whether one can be entered: a child tries it, for there is no way back out of one that is of no use."""
    pid = os.fork()
    if pid == 0:
        try:
            enter_user_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def drop_user(uid: int | None) -> None:
    """Become the run's user, without capabilities. The drop clears the death signal: set that afterwards."""
    system.drop_bounding_set()
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    system.clear_capabilities()


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends."""
    system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)


def set_limits(limits: Limits, *, own_user: bool) -> None:
    """Resource limits, inherited by all children. Processes are counted by user, so only a user of its own has one."""
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_MEMLOCK: 8 << 20}
    if limits.file_bytes is not None:
        wanted[resource.RLIMIT_FSIZE] = limits.file_bytes
    if limits.open_files is not None:
        wanted[resource.RLIMIT_NOFILE] = limits.open_files
    if limits.processes is not None and own_user:
        wanted[resource.RLIMIT_NPROC] = limits.processes
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bounded, bounded))
    if limits.cpu_seconds is not None:
        # At the first a process gets SIGXCPU, which says why it ends; who ignores that is killed at the second.
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + XCPU_GRACE_S))


def restrict(plan: Plan, spawn: Spawn) -> None:
    """For the process that is to run untrusted code: everything that needs no namespace. Raises OSError."""
    own_ports = bool(spawn.links)
    if own_ports and not plan.has("net"):
        raise OSError("a kernel that listens on ports needs a network namespace")
    set_limits(spawn.limits, own_user=spawn.uid is not None)
    drop_user(spawn.uid)
    die_with_parent()
    # The drop made /proc/self root's; programs look at themselves there. Nothing in this memory is secret.
    system.prctl(system.PR_SET_DUMPABLE, 1)
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
    if plan.has("landlock"):
        writable = [f"{spawn.run_dir}/{name}" for name in view.WRITABLE]
        writable += [f"/dev/{name}" for name in view.DEVICES]
        # Locks of multiprocessing are made there; without a view it is the machine's own.
        writable.append("/dev/shm")  # noqa: S108
        if plan.has("mount"):
            writable += ["/tmp", view.TERMINALS]  # noqa: S108 - of this view alone
        readable = [*view.readable([*plan.environment, *spawn.readable], in_view=plan.has("mount")), spawn.run_dir]
        if not plan.has("mount"):
            readable.append("/sys/fs/cgroup")  # where libraries look how many processors they may use
        landlock.restrict(readable, writable, tcp=own_ports)
    if plan.has("seccomp"):
        seccomp.install(inet=own_ports, counted=plan.has("cgroups"), alone=plan.has("pid"))
