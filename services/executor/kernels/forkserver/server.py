"""The fork server's loop: requests in, forks out, ends told. One thread, no ZeroMQ, no event loop to share."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import time
from typing import Any

from services.executor.kernels.forkserver import clients, confinement, preload
from services.executor.kernels.forkserver.clients import Client
from services.executor.kernels.forkserver.confinement import Spawn
from services.executor.kernels.forkserver.footprint import Footprints
from services.executor.kernels.forkserver.forking import Entry, Forker
from services.executor.kernels.forkserver.keeper import BOUND

WATCH_MS = 200
"""How often memory is measured where no control group holds it, in milliseconds."""

REMOVE_MS = 20
"""How soon a control group that was still busy is tried again, in milliseconds."""

KEEPER_GRACE_S = 0.5
"""How long a keeper may take to end its kernel and tell of it, in seconds."""

REPORT_BYTES = 65_536

NAMESPACES = 8
"""More than a keeper has of its own."""


class Server:
    """See the module. Every kernel belongs to one client: it hears of the kernel, and the kernel ends with it."""

    def __init__(self, worker: socket.socket, door: socket.socket, forker: Forker) -> None:
        self._supervisor = Client(0, worker)
        self._door = door
        self._clients: dict[int, Client] = {worker.fileno(): self._supervisor}
        self._leaving: set[int] = set()
        self._forker = forker
        self._entries: dict[int, Entry] = {}
        self._watched = select.poll()
        self._by_descriptor: dict[int, Entry] = {}
        self._by_report: dict[int, Entry] = {}
        self._retiring = False
        self._footprints = Footprints(in_views=forker.plan.has("mount"))

    def serve(self, ready: dict[str, Any]) -> None:
        """Answer until the worker goes away."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._watched.register(self._supervisor.fileno(), select.POLLIN)
        self._watched.register(self._door.fileno(), select.POLLIN)
        self._watched.register(woken, select.POLLIN)
        self._supervisor.tell({"event": "ready", **ready})
        next_watch = 0.0
        while True:
            for descriptor, _ in self._watched.poll(self._patience()):
                if descriptor in self._clients:
                    client = self._clients[descriptor]
                    if not self._listen_to(client) and client is self._supervisor:
                        return
                elif descriptor == self._door.fileno():
                    self._let_in()
                elif descriptor == woken:
                    os.read(woken, 512)
                elif descriptor in self._by_descriptor:
                    self._hear(self._by_descriptor[descriptor])
                elif descriptor in self._by_report:
                    self._hear_kernel(self._by_report[descriptor])
            self._press()
            self._reap()
            self._see_off()
            if self._retiring and not self._entries:
                return
            if time.monotonic() >= next_watch:
                self._watch_memory()
                next_watch = time.monotonic() + WATCH_MS / 1000

    def _patience(self) -> int | None:
        if any(entry.reaped or entry.overdue is not None for entry in self._entries.values()):
            return REMOVE_MS
        return WATCH_MS if self._forker.groups is None and self._entries else None

    def _let_in(self) -> None:
        client = clients.let_in(self._door)
        if client is None:
            self._watched.unregister(self._door.fileno())
            return
        self._clients[client.fileno()] = client
        self._watched.register(client.fileno(), select.POLLIN)

    def _listen_to(self, client: Client) -> bool:
        """Obey what a client says; returns whether it is still there. What is left of it when it has gone are its
        kernels: they are ended."""
        messages = client.read()
        if messages is None:
            self._watched.unregister(client.fileno())
            del self._clients[client.fileno()]
            client.connection.close()
            self._leaving.add(client.number)
            for entry in self._entries.values():
                if entry.owner is client and not entry.reaped:
                    self._kill(entry)
            return False
        for message in messages:
            self._obey(client, message)
        return True

    def _see_off(self) -> None:
        """Tell the supervisor of clients that have gone and of whose kernels nothing is left."""
        for number in list(self._leaving):
            if not any(entry.owner is not None and entry.owner.number == number for entry in self._entries.values()):
                self._leaving.discard(number)
                self._supervisor.tell({"event": "clientGone", "client": number})

    def _obey(self, client: Client, message: dict[str, Any]) -> None:
        if message["op"] == "spawn":
            self._spawn(client, message)
            return
        if message["op"] == "retire":
            self._retiring = True
            return
        if message["op"] == "adopt":
            self._give(client, message["id"])
            return
        entry = self._entries.get(message["id"])
        if entry is None or entry.reaped or entry.owner is not client:
            return
        if message["op"] == "kill":
            self._kill(entry)
        else:
            self._signal(entry, int(message["signal"]))

    def _give(self, client: Client, identity: int) -> None:
        """Have a kernel belong to another client, which is told all that its former one was told."""
        entry = self._entries.get(identity)
        if entry is None:
            client.tell({"event": "failed", "id": identity, "reason": "the kernel has ended"})
            client.tell({"event": "gone", "id": identity})
            return
        entry.owner = client
        for message in entry.told:
            client.tell(message)

    def _spawn(self, client: Client, message: dict[str, Any]) -> None:
        spawn = Spawn.of(message, self._forker.free_uid(self._entries.values()), self._forker.plan.environment)
        try:
            if spawn.uid is not None:
                confinement.hand_over(spawn.run_dir, spawn.uid)
            entry = self._forker.fork(spawn, preload.run_kernel)
        except OSError as error:
            client.tell({"event": "failed", "id": spawn.id, "reason": str(error)})
            client.tell({"event": "gone", "id": spawn.id})
            return
        entry.owner = client
        self._entries[spawn.id] = entry
        assert entry.channel is not None  # noqa: S101 - just made
        self._by_descriptor[entry.channel.fileno()] = entry
        self._watched.register(entry.channel.fileno(), select.POLLIN)
        group = entry.group.notice() if entry.group is not None else None
        _tell(entry, {"event": "spawned", "pid": entry.pid, "uid": spawn.uid, "group": group})

    def _hear(self, entry: Entry) -> None:
        """A keeper's message, or its end."""
        assert entry.channel is not None  # noqa: S101 - registered
        try:
            data, descriptors, _, _ = socket.recv_fds(entry.channel, REPORT_BYTES, NAMESPACES)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._forget_channel(entry)
            return
        message = json.loads(data)
        if message["event"] == "ready":
            self._admit(entry, descriptors)
        elif message["event"] == "exited":
            self._tell_end(entry, message)
        else:
            if message["event"] == "failed":
                entry.told_end = True
            _tell(entry, message)

    def _admit(self, entry: Entry, namespaces: list[int]) -> None:
        """Fork a kernel whose keeper is there."""
        try:
            self._forker.admit(entry, namespaces)
        except OSError as error:
            entry.told_end = True
            _tell(entry, {"event": "failed", "reason": str(error)})
            self._kill_keeper(entry)
        else:
            assert entry.report is not None  # noqa: S101 - just made
            self._by_report[entry.report] = entry
            self._watched.register(entry.report, select.POLLIN)
        finally:
            for namespace in namespaces:
                os.close(namespace)

    def _hear_kernel(self, entry: Entry) -> None:
        """What a kernel of this server's own says at its start, once."""
        assert entry.report is not None  # noqa: S101 - registered
        try:
            words = os.read(entry.report, REPORT_BYTES)
        except BlockingIOError:
            words = b""
        self._watched.unregister(entry.report)
        del self._by_report[entry.report]
        os.close(entry.report)
        entry.report = None
        if words == BOUND:
            _tell(entry, {"event": "bound", "kernel": entry.kernel})
        elif words and not entry.told_end:
            entry.told_end = True
            _tell(entry, {"event": "failed", "reason": words.decode(errors="replace")})

    def _tell_end(self, entry: Entry, message: dict[str, Any]) -> None:
        if entry.told_end:
            return
        entry.told_end = True
        status = message["status"] if entry.status is None else entry.status
        use = {
            "cpuSeconds": round(entry.cpu_seconds + message["cpuSeconds"], 4),
            "peakMemoryBytes": max(entry.peak_memory_bytes, message["peakMemoryBytes"]),
        }
        method = "wait4"
        cause = entry.cause
        group = entry.group
        if group is not None:
            if group.out_of_memory():
                cause = "memory"
            seconds, peak = group.cpu_seconds(), group.peak_memory_bytes()
            if seconds is not None and peak is not None:
                use, method = {"cpuSeconds": round(seconds, 4), "peakMemoryBytes": peak}, "cgroup"
        else:
            use["peakMemoryBytes"] = max(use["peakMemoryBytes"], self._footprints.peak(entry.pid))
        if status == -signal.SIGXCPU:
            cause = "cpu"
        _tell(entry, {"event": "exited", "status": status, "cause": cause, "method": method, **use})

    def _signal(self, entry: Entry, number: int) -> None:
        """Signal a kernel, itself or through its keeper."""
        if entry.kernel is not None:
            os.kill(entry.kernel, number)
        elif entry.main is None and entry.channel is not None:
            with contextlib.suppress(OSError):  # it has just ended; its exit notice is on the way
                entry.channel.send(str(number).encode())

    def _kill(self, entry: Entry) -> None:
        """End a kernel and all that it started; in a pid namespace the end of process 1 is the end of all."""
        is_without_kernel = entry.main is not None and entry.kernel is None
        if self._forker.plan.has("pid") and (entry.group is not None or is_without_kernel):
            self._kill_keeper(entry)
            return
        # Where no control group counts, the keeper must live to tell what its kernel has used.
        self._signal(entry, signal.SIGKILL)
        if self._forker.plan.has("pid") and entry.overdue is None:
            entry.overdue = time.monotonic() + KEEPER_GRACE_S

    @staticmethod
    def _kill_keeper(entry: Entry) -> None:
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
        kernels = {entry.kernel: entry for entry in self._entries.values() if entry.kernel is not None}
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in kernels:
                self._dismiss(kernels[pid], os.waitstatus_to_exitcode(status), usage)
                continue
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
                _tell(entry, {"event": "gone"})

    def _dismiss(self, entry: Entry, status: int, usage: resource.struct_rusage) -> None:
        """A kernel of this server's own has ended: its keeper tells what its orphans used, and ends with them."""
        if entry.report is not None:
            self._hear_kernel(entry)
        entry.kernel, entry.status = None, status
        entry.cpu_seconds = usage.ru_utime + usage.ru_stime
        entry.peak_memory_bytes = usage.ru_maxrss * 1024
        if entry.channel is not None:
            with contextlib.suppress(OSError):  # the keeper has ended first
                entry.channel.shutdown(socket.SHUT_WR)
        entry.overdue = time.monotonic() + KEEPER_GRACE_S

    def _forget_channel(self, entry: Entry) -> None:
        if entry.channel is not None:
            if entry.channel.fileno() in self._by_descriptor:
                self._watched.unregister(entry.channel.fileno())
                del self._by_descriptor[entry.channel.fileno()]
            entry.channel.close()
            entry.channel = None

    def _watch_memory(self) -> None:
        """Where no control group holds the limits, look whether a kernel is over one."""
        if self._forker.groups is not None:
            return
        alive = [entry for entry in self._entries.values() if not entry.reaped and not entry.told_end]
        limits = {entry.pid: entry.spawn.limits for entry in alive}
        kernels = {entry.kernel: entry.pid for entry in alive if entry.kernel is not None}
        for pid, cause in self._footprints.over(limits, kernels):
            entry = next(entry for entry in self._entries.values() if entry.pid == pid)
            entry.cause = cause
            self._kill(entry)

    def close(self) -> None:
        """End every kernel, wait for their ends, remove what was made."""
        for entry in self._entries.values():
            self._kill(entry)
        deadline = time.monotonic() + 2
        while self._entries and time.monotonic() < deadline:
            self._press()
            self._reap()
            time.sleep(0.005)
        if self._forker.groups is not None:
            self._forker.groups.close()


def _tell(entry: Entry, message: dict[str, Any]) -> None:
    """Tell a kernel's owner of it, and keep what was told for the client that it may be given to."""
    message = {**message, "id": entry.spawn.id}
    entry.told.append(message)
    if entry.owner is not None:
        entry.owner.tell(message)
