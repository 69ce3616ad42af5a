"""Tries each layer of isolation in a child process, for real, before anything relies on it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from services.executor.kernels.forkserver import confinement, landlock, seccomp, system

Attempt = Callable[[], str]
"""Runs in a child; gives a detail to show, raises when the layer does not hold."""

TIMEOUT_S = 5
"""A child that has not answered by then has failed, in seconds (alarm(2))."""


def held(attempt: Attempt) -> dict[str, Any]:
    """Run `attempt` in a child: `{"ok", "detail"}`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(TIMEOUT_S)
        try:
            answer = "+" + attempt()
        except BaseException as error:
            # Every failure is an answer here: the layer does not hold, for this reason.
            answer = f"-{error}"
        os.write(writing, answer[:500].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return {"ok": answer.startswith("+"), "detail": answer[1:] if answer else "no answer"}


def each_layer(canary: str, uids: range | None) -> dict[str, dict[str, Any]]:
    """Every layer by itself. `canary` is a file outside of what kernels may see."""
    results = {
        "pid": held(_pid),
        "mount": held(_mount),
        "net": held(_net),
        "ipc": held(lambda: _namespace("ipc", system.CLONE_NEWIPC)),
        "uts": held(lambda: _namespace("uts", system.CLONE_NEWUTS)),
        "landlock": held(lambda: _landlock(canary)),
        "seccomp": held(_seccomp),
    }
    results["uid"] = held(lambda: _uid(uids))
    return results


def _pid() -> str:
    system.unshare(system.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if os.getpid() == 1 else 1)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError("a child in a new pid namespace is not process 1")
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    system.setns(own, system.CLONE_NEWPID)
    return "process 1 of its own namespace"


def _mount() -> str:
    """A private proc needs the pid namespace too."""
    system.unshare(system.CLONE_NEWPID | system.CLONE_NEWNS)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            system.mount(None, "/", None, system.MS_REC | system.MS_PRIVATE)
            system.mount("tmpfs", "/mnt", "tmpfs", 0)
            os.mkdir("/mnt/proc")
            system.mount("proc", "/mnt/proc", "proc", system.MS_NOSUID)
            system.change_root("/mnt")
            if os.listdir("/") != ["proc"]:
                raise OSError("the old root is still there")
        except OSError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as stream:
        if trouble := stream.read().decode():
            raise OSError(trouble)
    return "own root and own /proc"


def _net() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = server.getsockname()
        system.unshare(system.CLONE_NEWNET)
        confinement.raise_loopback()
        with socket.socket() as client:
            client.settimeout(1)
            number = client.connect_ex(address)
        if number == 0:
            raise OSError("a port of this machine's loopback could be reached")
    return "own loopback only"


def _namespace(name: str, flag: int) -> str:
    before = os.stat(f"/proc/self/ns/{name}").st_ino
    system.unshare(flag)
    if os.stat(f"/proc/self/ns/{name}").st_ino == before:
        raise OSError("still in the old one")
    return "own namespace"


def _landlock(canary: str) -> str:
    version = landlock.abi()
    if version == 0:
        raise OSError("this kernel has no Landlock")
    system.clear_capabilities()  # with CAP_PERFMON newer kernels let a process read any other
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(["/usr", "/proc"], [])
    os.listdir("/usr")
    _must_fail(lambda: os.open(canary, os.O_RDONLY), f"{canary} could be read", errno.EACCES)
    _must_fail(
        lambda: os.open(f"/proc/{os.getppid()}/environ", os.O_RDONLY), "the parent's environment could be read",
        errno.EACCES, errno.EPERM,
    )  # fmt: skip
    return f"ABI {version}"


def _seccomp() -> str:
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(alone=True)
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):
        _must_fail(partial(socket.socket, family), f"{family!r} sockets can be made", errno.EACCES)
    socket.socketpair()[0].close()
    _must_fail(lambda: system.unshare(system.CLONE_NEWUSER), "user namespaces can be made", errno.EPERM)
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    if ptrace(0, 0, 0, 0) == 0:
        raise OSError("ptrace is allowed")
    if os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1] != 0:
        raise OSError("programs cannot be run")
    return f"{len(seccomp.program()) // 8} instructions"


def _uid(uids: range | None) -> str:
    if uids is None:
        raise OSError("this worker may not change users")
    confinement.drop_user(uids[0])
    _must_fail(lambda: os.setuid(0), "root can be had back", errno.EPERM)
    return f"{uids[0]}-{uids[-1]}"


def _must_fail(action: Callable[[], object], otherwise: str, *numbers: int) -> None:
    try:
        action()
    except OSError as error:
        if error.errno in numbers:
            return
        raise
    raise OSError(otherwise)


def inside(canary: str, ports: tuple[int, int], layers: frozenset[str]) -> list[str]:
    """Called where a kernel would run, after all confinement: what can still be reached that should not be."""
    faults = []
    with contextlib.suppress(OSError), open(canary, "rb"):
        faults.append("a file of the worker can be read")
    for kind, port in ((socket.SOCK_STREAM, ports[0]), (socket.SOCK_DGRAM, ports[1])):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as client:
            client.settimeout(1)
            client.connect(("127.0.0.1", port))
            if kind == socket.SOCK_STREAM or "net" not in layers:
                faults.append("a port on this machine's loopback can be reached")
    if "pid" in layers and os.getpid() != 2:
        faults.append(f"the kernel is process {os.getpid()} of its namespace")
    if "mount" in layers:
        visible = [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 2]
        if visible:
            faults.append("other processes can be seen")
    if "uid" in layers and os.getuid() == 0:
        faults.append("the kernel is root")
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status.read().splitlines())
    if int(fields["CapEff"], 16):
        faults.append("the kernel has capabilities")
    if fields["NoNewPrivs"].strip() != "1":
        faults.append("the kernel can gain privileges")
    with contextlib.suppress(OSError):
        system.unshare(system.CLONE_NEWUSER)
        faults.append("user namespaces can be made")
    return faults
