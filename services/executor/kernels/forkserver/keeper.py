"""Stands beside each kernel: pid 1 of its namespace; reaps, passes signals on, tells the end and takes all with it.

A kernel that is forked from the server's imports is not its child, but one of the server that joins its namespaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from services.executor.kernels.forkserver import confinement, system
from services.executor.kernels.forkserver.cgroups import Group
from services.executor.kernels.forkserver.confinement import Plan, Spawn
from services.executor.kernels.forkserver.forwarder import forward

Main = Callable[[Spawn, int], None]
"""What runs in the confined process; writes `bound` to the descriptor it is given when it can be connected to."""

BOUND = b"bound"
"""What a kernel writes when it can be connected to; anything else is why it does not start."""

FORWARDER_GRACE_S = 0.5
"""How long a forwarder may take to pass on what its kernel sent before it ended, in seconds."""

NAMESPACE_FILES = {"mount": "mnt", "net": "net", "ipc": "ipc", "uts": "uts"}
"""Of /proc/self/ns, by layer."""


def keep(
    plan: Plan, spawn: Spawn, group: Group | None, channel: socket.socket, libraries: set[int], main: Main | None
) -> NoReturn:
    """Called in a fresh fork; never returns. `channel` is a packet socket to the server. `main` is what the kernel
    runs; without it the server brings the kernel."""
    reason = "the kernel could not be confined"
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        confinement.die_with_parent()
        system.close_all_but(channel.fileno(), *libraries)
        if group is not None:
            group.enter()
        if not plan.has("pid"):
            system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)
        confinement.enter_namespaces(plan, spawn)
        keeper = _Keeper(plan, spawn, channel, libraries)
        end = keeper.run(main) if main is not None else keeper.host()
        _tell(channel, {"event": "exited", **end})
    except BaseException as error:
        # Whatever went wrong before the kernel ran is the answer to the request.
        _tell(channel, {"event": "failed", "reason": f"{reason}: {error}"})
    finally:
        os._exit(0)


def join(
    plan: Plan, spawn: Spawn, group: Group | None, namespaces: list[int], libraries: set[int], main: Main, bound: int
) -> NoReturn:
    """Called in a fresh fork of the server: enter the namespaces of a keeper and become its kernel."""
    try:
        signal.set_wakeup_fd(-1)
        confinement.die_with_parent()
        if group is not None:
            group.enter()
        for namespace in namespaces:
            system.setns(namespace, 0)
        words = _open_stderr(spawn)
    except BaseException as error:
        _explain(bound, error)
        os._exit(1)
    _become(plan, spawn, libraries, main, bound, words)


class _Keeper:
    def __init__(self, plan: Plan, spawn: Spawn, channel: socket.socket, libraries: set[int]) -> None:
        self._plan = plan
        self._spawn = spawn
        self._channel = channel
        self._libraries = libraries
        self._cpu = 0.0
        self._peak_kib = 0
        self._forwarder: int | None = None

    def run(self, main: Main) -> dict[str, Any]:
        """Start the kernel, watch over it, and give its end."""
        woken = _wake_up_for_children()
        report, bound = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._become(main, bound, _open_stderr(self._spawn))
        if self._spawn.links and (forwarder := os.fork()) == 0:
            self._become(forward, bound, os.open("/dev/null", os.O_WRONLY))
        elif self._spawn.links:
            self._forwarder = forwarder
        os.close(bound)
        self._give_up_privileges()
        watched = select.poll()
        for descriptor in (self._channel.fileno(), woken, report):
            watched.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in watched.poll():
                if descriptor == self._channel.fileno():
                    self._obey(pid)
                elif descriptor == woken:
                    os.read(woken, 512)
                else:
                    self._pass_on(os.read(report, 4096))
                    watched.unregister(report)
            status = self._reap(pid)
            if status is not None:
                self._let_forwarder_end(woken)
                self._end_rest()
                return {"status": status, "cpuSeconds": round(self._cpu, 4), "peakMemoryBytes": self._peak_kib * 1024}

    def host(self) -> dict[str, Any]:
        """Show the server the way in and reap what the kernel leaves until the kernel has ended; gives what those used,
        beside the kernel itself."""
        woken = _wake_up_for_children()
        names = ["pid", *(NAMESPACE_FILES[layer] for layer in confinement.NAMESPACES if self._plan.has(layer))]
        namespaces = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names]
        self._give_up_privileges()
        socket.send_fds(self._channel, [json.dumps({"event": "ready"}).encode()], namespaces)
        for namespace in namespaces:
            os.close(namespace)
        watched = select.poll()
        for descriptor in (self._channel.fileno(), woken):
            watched.register(descriptor, select.POLLIN)
        while self._channel.fileno() not in dict(watched.poll()):
            os.read(woken, 512)
            self._reap(None)
        self._reap(None)
        return {"cpuSeconds": round(self._cpu, 4), "peakMemoryBytes": self._peak_kib * 1024}

    def _give_up_privileges(self) -> None:
        confinement.drop_user(self._spawn.uid)
        confinement.die_with_parent()
        system.prctl(system.PR_SET_DUMPABLE, 0)

    def _become(self, main: Main, bound: int, words: int) -> NoReturn:
        _become(self._plan, self._spawn, self._libraries, main, bound, words)

    def _pass_on(self, words: bytes) -> None:
        if words == BOUND:
            _tell(self._channel, {"event": "bound"})
        elif words:
            _tell(self._channel, {"event": "failed", "reason": words.decode(errors="replace")})

    def _obey(self, pid: int) -> None:
        """Signal the kernel as the server says; without a server everything ends."""
        message = self._channel.recv(16)
        if not message:
            os.kill(pid, signal.SIGKILL)
            self._end_rest()
            os._exit(0)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, int(message))

    def _reap(self, kernel: int | None) -> int | None:
        """Collect what has ended; the kernel's exit code if it is among them."""
        ended = None
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            self._cpu += usage.ru_utime + usage.ru_stime
            self._peak_kib = max(self._peak_kib, usage.ru_maxrss)
            if pid == kernel:
                ended = os.waitstatus_to_exitcode(status)
            elif pid == self._forwarder:
                self._forwarder = None
                if kernel is not None:
                    # Nobody can reach the kernel any more.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(kernel, signal.SIGKILL)

    def _let_forwarder_end(self, woken: int) -> None:
        """The kernel has ended: let what it has sent get to its reader."""
        if self._forwarder is not None:
            os.kill(self._forwarder, signal.SIGTERM)
        waking = select.poll()
        waking.register(woken, select.POLLIN)
        deadline = time.monotonic() + FORWARDER_GRACE_S
        while self._forwarder is not None and (left_s := deadline - time.monotonic()) > 0:
            if waking.poll(left_s * 1000):
                os.read(woken, 512)
            self._reap(None)

    def _end_rest(self) -> None:
        """Without a pid namespace, end what the kernel left: its orphans are this process's children now."""
        if self._plan.has("pid"):
            return
        own = f"/proc/self/task/{os.getpid()}/children"
        while True:
            with open(own, encoding="ascii") as listing:
                children = listing.read().split()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            try:
                os.wait4(-1, 0)
            except ChildProcessError:
                return


def _wake_up_for_children() -> int:
    """A descriptor that can be read when a child has ended."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    return woken


def _open_stderr(spawn: Spawn) -> int:
    """Where the kernel's own words go. Called before anything untrusted has run."""
    words = os.open(f"{spawn.run_dir}/k/stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o660)
    if spawn.uid is not None:
        os.fchown(words, spawn.uid, -1)
    return words


def _become(plan: Plan, spawn: Spawn, libraries: set[int], main: Main, bound: int, words: int) -> NoReturn:
    """The kernel's side of the fork, or its forwarder's."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.umask(0o007)
        os.environ.clear()
        os.environ.update(spawn.environment)
        nothing = os.open("/dev/null", os.O_RDWR)
        for target, source in ((0, nothing), (1, nothing), (2, words)):
            os.dup2(source, target)
        system.close_all_but(bound, *libraries)
        os.chdir(f"{spawn.run_dir}/work")
        confinement.restrict(plan, spawn)
        main(spawn, bound)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException as error:
        _explain(bound, error)
    finally:
        os._exit(code)


def _explain(bound: int, error: BaseException) -> None:
    """Until its sockets are bound this is why the kernel did not start; afterwards nobody reads it."""
    with contextlib.suppress(OSError):
        os.write(bound, f"{type(error).__name__}: {error}"[:4000].encode())


def execute(spawn: Spawn, _bound: int) -> None:
    """Become the program that the request names. Raises OSError; else the descriptors for reports close with this."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # what is ignored stays so, and only Python expects that
    os.execvpe(spawn.argv[0], spawn.argv, spawn.environment)  # noqa: S606 - there is no shell


def _tell(channel: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the server is gone: nobody to tell, and this process is about to end too
        channel.send(json.dumps(message).encode())
