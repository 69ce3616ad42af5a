"""The fork server's loop: requests in, forks out, ends told. One thread, no ZeroMQ, no event loop to share."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from services.executor.kernels.forkserver import confinement, keeper, preload, probes, system, view
from services.executor.kernels.forkserver.cgroups import Group, GroupLimits, Groups
from services.executor.kernels.forkserver.confinement import Limits, Plan, Spawn
from services.executor.kernels.forkserver.footprint import Footprints
from services.executor.kernels.forkserver.wire import Decoder, encode

NAMESPACE_LAYERS = ("pid", "mount", "net", "ipc", "uts")

WATCH_MS = 200
"""How often memory is measured where no control group holds it, in milliseconds."""

REMOVE_MS = 20
"""How soon a control group that was still busy is tried again, in milliseconds."""

KEEPER_GRACE_S = 0.5
"""How long a keeper may take to end its kernel and tell of it, in seconds."""

REPORT_BYTES = 65_536


class _Entry:
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


class Server:
    """See the module."""

    def __init__(self, worker: socket.socket, configuration: dict[str, Any]) -> None:
        self._worker = worker
        self._decoder = Decoder()
        self._entries: dict[int, _Entry] = {}
        self._watched = select.poll()
        self._by_descriptor: dict[int, _Entry] = {}
        self._scratch = Path(configuration["scratch"])
        self._canary = configuration["canary"]
        self._extra = list(configuration.get("readable") or [])
        first, count = configuration["uids"]
        self._uids = range(first, first + count) if system.is_privileged() and os.getuid() == 0 else None
        self._libraries: set[int] = set()
        self._retiring = False
        self._use_groups = True
        self._skip = frozenset(configuration.get("withoutLayers") or ())
        self._groups: Groups | None = None
        self._footprints = Footprints()
        self._in_user_namespace = bool(configuration.get("inUserNamespace"))
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def prepare(self, imports: list[str]) -> dict[str, Any]:
        """Probe, import, and give what the worker is told of it."""
        stage, etc = self._scratch / "view", self._scratch / "etc"
        stage.mkdir(mode=0o755)
        view.copy_etc(etc)
        # A user namespace maps one user only: there is none to change to.
        uids = None if self._in_user_namespace else self._uids
        layers = probes.each_layer(self._canary, uids)
        self._use_groups = "cgroups" not in self._skip
        for name in self._skip & set(layers):
            layers[name] = {"ok": False, "detail": "switched off"}
        if not layers["pid"]["ok"]:
            layers["mount"] = {"ok": False, "detail": "needs the pid namespace"}
        if layers["uid"]["ok"] and not layers["mount"]["ok"]:
            # Another user could not reach its run folder: the worker's folder around it lets nobody in.
            layers["uid"] = {"ok": False, "detail": "needs the mount namespace"}
        self._uids = uids if layers["uid"]["ok"] else None
        if self._use_groups:
            with contextlib.suppress(OSError):
                self._groups = Groups()
        controllers = self._groups.controllers if self._groups else []
        layers["cgroups"] = {
            "ok": bool(controllers),
            "detail": f"version {self._groups.version}: {', '.join(controllers)}"
            if self._groups and controllers
            else "not writable: rlimits and a watchdog instead",
        }
        if not controllers:
            self._groups = None
        self._plan = Plan(
            layers=frozenset(name for name, result in layers.items() if result["ok"]),
            stage=str(stage),
            etc=str(etc),
            environment=view.environment_paths(self._extra),
        )
        before = _descriptors()
        loaded = preload.load(imports)
        self._libraries = {number for number in _descriptors() - before if _is_file(number)}
        faults = self._try_whole()
        return {
            "layers": layers,
            "faults": faults,
            "preload": loaded,
            "userNamespace": self._in_user_namespace,
            "threads": len(os.listdir("/proc/self/task")),
        }

    def _try_whole(self) -> list[str]:
        """Confine a child exactly as a kernel is, and have it try what a kernel must not be able to do."""
        run_dir = self._scratch / "probe"
        for name in ("", *view.WRITABLE):
            (run_dir / name).mkdir(mode=0o755)
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            tcp.listen()
            udp.bind(("127.0.0.1", 0))
            ports = (tcp.getsockname()[1], udp.getsockname()[1])
            spawn = Spawn(
                id=0, run_dir=str(run_dir), connection_file="", environment={}, limits=Limits(), threads=1,
                uid=self._free_uid(),
            )  # fmt: skip
            if spawn.uid is not None:
                confinement.hand_over(spawn.run_dir, spawn.uid)
            canary, layers = self._canary, self._plan.layers

            def attempt(_spawn: Spawn, _bound: int) -> None:
                faults = probes.inside(canary, ports, layers)
                Path("faults").write_text(json.dumps(faults), encoding="utf-8")

            try:
                entry = self._fork(spawn, attempt)
            except OSError as error:
                return [f"no kernel could be confined: {error}"]
            os.waitpid(entry.pid, 0)
            assert entry.channel is not None  # noqa: S101 - just made
            said = entry.channel.recv(REPORT_BYTES).decode(errors="replace")
            entry.channel.close()
            if entry.group is not None:
                entry.group.remove()
            try:
                faults: list[str] = json.loads((run_dir / "work" / "faults").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                words = ""
                with contextlib.suppress(OSError):
                    words = (run_dir / "k" / "stderr").read_text(encoding="utf-8")[-500:]
                return [f"no kernel could be confined: {said} {words}".strip()]
            return faults

    def serve(self, ready: dict[str, Any]) -> None:
        """Answer until the worker goes away."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._watched.register(self._worker.fileno(), select.POLLIN)
        self._watched.register(woken, select.POLLIN)
        self._tell({"event": "ready", **ready})
        next_watch = 0.0
        while True:
            for descriptor, _ in self._watched.poll(self._patience()):
                if descriptor == self._worker.fileno():
                    data = self._worker.recv(65_536)
                    if not data:
                        return
                    for message in self._decoder.feed(data):
                        self._obey(message)
                elif descriptor == woken:
                    os.read(woken, 512)
                elif descriptor in self._by_descriptor:
                    self._hear(self._by_descriptor[descriptor])
            self._press()
            self._reap()
            if self._retiring and not self._entries:
                return
            if time.monotonic() >= next_watch:
                self._watch_memory()
                next_watch = time.monotonic() + WATCH_MS / 1000

    def _patience(self) -> int | None:
        if any(entry.reaped for entry in self._entries.values()):
            return REMOVE_MS
        return WATCH_MS if self._groups is None and self._entries else None

    def _obey(self, message: dict[str, Any]) -> None:
        if message["op"] == "spawn":
            self._spawn(message)
            return
        if message["op"] == "retire":
            self._retiring = True
            return
        entry = self._entries.get(message["id"])
        if entry is None or entry.reaped:
            return
        if message["op"] == "kill":
            self._kill(entry)
        elif entry.channel is not None:
            with contextlib.suppress(OSError):  # it has just ended; its exit notice is on the way
                entry.channel.send(str(int(message["signal"])).encode())

    def _spawn(self, message: dict[str, Any]) -> None:
        spawn = Spawn.of(message, self._free_uid())
        try:
            if spawn.uid is not None:
                confinement.hand_over(spawn.run_dir, spawn.uid)
            entry = self._fork(spawn, preload.run_kernel)
        except OSError as error:
            self._tell({"event": "failed", "id": spawn.id, "reason": str(error)})
            self._tell({"event": "gone", "id": spawn.id})
            return
        self._entries[spawn.id] = entry
        assert entry.channel is not None  # noqa: S101 - just made
        self._by_descriptor[entry.channel.fileno()] = entry
        self._watched.register(entry.channel.fileno(), select.POLLIN)
        group = entry.group.notice() if entry.group is not None else None
        self._tell({"event": "spawned", "id": spawn.id, "pid": entry.pid, "uid": spawn.uid, "group": group})

    def _fork(self, spawn: Spawn, main: keeper.Main) -> _Entry:
        limits = spawn.limits
        group = None
        if self._groups is not None:
            group = self._groups.make(
                f"k{spawn.id}",
                GroupLimits(memory_bytes=limits.memory_bytes, processes=limits.processes, processors=limits.processors),
            )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            if self._plan.has("pid"):
                system.unshare(system.CLONE_NEWPID)
            pid = os.fork()
            if pid == 0:
                keeper.keep(self._plan, spawn, group, theirs, self._libraries, main)
        except OSError:
            ours.close()
            if group is not None:
                group.remove()
            raise
        finally:
            theirs.close()
            if self._plan.has("pid"):
                system.setns(self._own_pid_namespace, system.CLONE_NEWPID)
        return _Entry(spawn, pid, ours, group)

    def _free_uid(self) -> int | None:
        """A user that no run here has. Several servers on one machine choose from the same range, hence at random."""
        if self._uids is None:
            return None
        taken = {entry.spawn.uid for entry in self._entries.values()}
        while (uid := random.choice(self._uids)) in taken:  # noqa: S311 - no secret
            continue
        return uid

    def _hear(self, entry: _Entry) -> None:
        """A keeper's message, or its end."""
        assert entry.channel is not None  # noqa: S101 - registered
        try:
            data = entry.channel.recv(REPORT_BYTES)
        except OSError:
            data = b""
        if not data:
            self._forget_channel(entry)
            return
        message = json.loads(data)
        if message["event"] == "exited":
            self._tell_end(entry, message)
        else:
            if message["event"] == "failed":
                entry.told_end = True
            self._tell({**message, "id": entry.spawn.id})

    def _tell_end(self, entry: _Entry, message: dict[str, Any]) -> None:
        if entry.told_end:
            return
        entry.told_end = True
        use = {"cpuSeconds": message.get("cpuSeconds"), "peakMemoryBytes": message.get("peakMemoryBytes")}
        method = "wait4"
        cause = entry.cause
        group = entry.group
        if group is not None:
            if group.out_of_memory():
                cause = "memory"
            seconds, peak = group.cpu_seconds(), group.peak_memory_bytes()
            if seconds is not None and peak is not None:
                use, method = {"cpuSeconds": round(seconds, 4), "peakMemoryBytes": peak}, "cgroup"
        if message["status"] == -signal.SIGXCPU:
            cause = "cpu"
        self._tell(
            {
                "event": "exited",
                "id": entry.spawn.id,
                "status": message["status"],
                "cause": cause,
                "method": method,
                **use,
            }
        )

    def _kill(self, entry: _Entry) -> None:
        """End a kernel and all that it started; in a pid namespace the end of process 1 is the end of all."""
        if self._plan.has("pid") and entry.group is not None:
            self._kill_keeper(entry)
        elif entry.channel is not None:
            # Where no control group counts, the keeper must live to tell what its kernel has used.
            with contextlib.suppress(OSError):
                entry.channel.send(str(int(signal.SIGKILL)).encode())
            if self._plan.has("pid") and entry.overdue is None:
                entry.overdue = time.monotonic() + KEEPER_GRACE_S

    @staticmethod
    def _kill_keeper(entry: _Entry) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(entry.pid, signal.SIGKILL)

    def _press(self) -> None:
        """End keepers that do not come to it, on a machine that is too busy."""
        for entry in self._entries.values():
            if entry.overdue is not None and not entry.reaped and time.monotonic() > entry.overdue:
                self._kill_keeper(entry)

    def _reap(self) -> None:
        """Keepers that have ended: with a pid namespace nothing of the kernel is left then."""
        by_pid = {entry.pid: entry for entry in self._entries.values()}
        while True:
            try:
                pid, _, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            entry = by_pid.get(pid)
            if entry is None:
                continue
            entry.reaped = True
            while entry.channel is not None:
                self._hear(entry)
            # A keeper that was killed could not tell; then the kernel was killed with it.
            self._tell_end(
                entry,
                {
                    "status": -signal.SIGKILL,
                    "cpuSeconds": round(usage.ru_utime + usage.ru_stime, 4),
                    "peakMemoryBytes": usage.ru_maxrss * 1024,
                },
            )
        for identity, entry in list(self._entries.items()):
            if entry.reaped and (entry.group is None or entry.group.remove()):
                del self._entries[identity]
                self._footprints.forget(entry.pid)
                self._tell({"event": "gone", "id": identity})

    def _forget_channel(self, entry: _Entry) -> None:
        if entry.channel is not None:
            if entry.channel.fileno() in self._by_descriptor:
                self._watched.unregister(entry.channel.fileno())
                del self._by_descriptor[entry.channel.fileno()]
            entry.channel.close()
            entry.channel = None

    def _watch_memory(self) -> None:
        """Where no control group holds the limits, look whether a kernel is over one."""
        if self._groups is not None:
            return
        watched = {
            entry.pid: entry.spawn.limits for entry in self._entries.values() if not entry.reaped and not entry.told_end
        }
        for pid, cause in self._footprints.over(watched):
            entry = next(entry for entry in self._entries.values() if entry.pid == pid)
            entry.cause = cause
            self._kill(entry)

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the worker is gone; the next read ends the loop
            self._worker.sendall(encode(message))

    def close(self) -> None:
        """End every kernel, wait for their ends, remove what was made."""
        for entry in self._entries.values():
            self._kill(entry)
        deadline = time.monotonic() + 2
        while self._entries and time.monotonic() < deadline:
            self._press()
            self._reap()
            time.sleep(0.005)
        if self._groups is not None:
            self._groups.close()


def _descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")}


def _is_file(number: int) -> bool:
    """Whether a descriptor that imports have left open is a file, such as a font's, that forks need too."""
    try:
        return os.path.isfile(f"/proc/self/fd/{number}")
    except OSError:
        return False


def _enter_user_namespace() -> str:
    """An unprivileged server gets its privileges over kernels, and over nothing else, from a user namespace."""
    uid, gid = os.getuid(), os.getgid()
    system.unshare(system.CLONE_NEWUSER | system.CLONE_NEWPID | system.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    return "entered"


def _attend(pid: int, descriptor: int) -> NoReturn:
    """The process that made the user namespace only waits for the server in it."""
    os.close(descriptor)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)


def main() -> None:
    """Run by the worker, with one socket's number as argument."""
    descriptor = int(sys.argv[1])
    confinement.die_with_parent()
    os.setsid()
    system.close_all_but(descriptor)
    worker = socket.socket(fileno=descriptor)
    decoder = Decoder()
    messages: list[dict[str, Any]] = []
    while not messages:
        data = worker.recv(65_536)
        if not data:
            return
        messages = decoder.feed(data)
    configuration = messages[0]
    # A child tries it first: there is no way back out of a namespace that is of no use.
    if not system.is_privileged() and probes.held(_enter_user_namespace)["ok"]:
        _enter_user_namespace()
        pid = os.fork()
        if pid:
            _attend(pid, descriptor)
        confinement.die_with_parent()
        system.mount(None, "/", None, system.MS_REC | system.MS_PRIVATE)
        with contextlib.suppress(OSError):  # then the probes find that there is no private /proc
            system.mount("proc", "/proc", "proc", system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC)
        configuration["inUserNamespace"] = True
    system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)
    server = Server(worker, configuration)
    try:
        server.serve(server.prepare(configuration["imports"]))
    finally:
        server.close()
