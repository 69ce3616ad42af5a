"""What a server finds out before its first kernel: which layers hold here, and whether all of them together do."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from services.executor.kernels.forkserver import confinement, preload, probes, system, view
from services.executor.kernels.forkserver.cgroups import Groups
from services.executor.kernels.forkserver.confinement import Limits, Plan, Spawn
from services.executor.kernels.forkserver.forking import Entry, Forker
from services.executor.kernels.forkserver.server import NAMESPACES, REPORT_BYTES


def prepare(configuration: dict[str, Any]) -> tuple[Forker, dict[str, Any]]:
    """Probe, import, and try: what makes kernels from now on, and what the worker is told of it."""
    scratch, canary = Path(configuration["scratch"]), configuration["canary"]
    in_user_namespace = bool(configuration.get("inUserNamespace"))
    skip = frozenset(configuration.get("withoutLayers") or ())
    stage, etc, ipython = scratch / "view", scratch / "etc", scratch / "ipython"
    stage.mkdir(mode=0o755)
    ipython.mkdir(mode=0o755)
    view.copy_etc(etc)
    first, count = configuration["uids"]
    # A user namespace maps one user only: there is none to change to.
    may_change = system.is_privileged() and os.getuid() == 0 and not in_user_namespace
    uids = range(first, first + count) if may_change else None
    layers = probes.each_layer(canary, uids)
    for name in skip & set(layers):
        layers[name] = {"ok": False, "detail": "switched off"}
    if not layers["pid"]["ok"]:
        layers["mount"] = {"ok": False, "detail": "needs the pid namespace"}
    if layers["uid"]["ok"] and not layers["mount"]["ok"]:
        # Another user could not reach its run folder: the worker's folder around it lets nobody in.
        layers["uid"] = {"ok": False, "detail": "needs the mount namespace"}
    groups = None
    if "cgroups" not in skip:
        with contextlib.suppress(OSError):
            groups = Groups()
    controllers = groups.controllers if groups else []
    layers["cgroups"] = {
        "ok": bool(controllers),
        "detail": f"version {groups.version}: {', '.join(controllers)}"
        if groups and controllers
        else "not writable: rlimits and a watchdog instead",
    }
    plan = Plan(
        layers=frozenset(name for name, result in layers.items() if result["ok"]),
        stage=str(stage),
        etc=str(etc),
        environment=view.environment_paths(list(configuration.get("readable") or [])),
    )
    forker = Forker(plan, groups if controllers else None, uids if layers["uid"]["ok"] else None)
    before = _descriptors()
    loaded = preload.load(configuration["imports"], str(ipython))
    forker.libraries = {number for number in _descriptors() - before if _is_file(number)}
    return forker, {
        "layers": layers,
        "faults": try_whole(forker, scratch, canary),
        "preload": loaded,
        "userNamespace": in_user_namespace,
        "threads": len(os.listdir("/proc/self/task")),
    }


def try_whole(forker: Forker, scratch: Path, canary: str) -> list[str]:
    """Confine a child exactly as a kernel is, and have it try what a kernel must not be able to do."""
    run_dir = scratch / "probe"
    for name in ("", *view.WRITABLE):
        (run_dir / name).mkdir(mode=0o755)
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        ports = (tcp.getsockname()[1], udp.getsockname()[1])
        spawn = Spawn(
            id=0, run_dir=str(run_dir), connection_file="", environment={}, limits=Limits(), threads=1,
            uid=forker.free_uid(),
        )  # fmt: skip
        if spawn.uid is not None:
            confinement.hand_over(spawn.run_dir, spawn.uid)
        layers = forker.plan.layers

        def attempt(_spawn: Spawn, _bound: int) -> None:
            faults = probes.inside(canary, ports, layers)
            Path("faults").write_text(json.dumps(faults), encoding="utf-8")

        try:
            entry = forker.fork(spawn, attempt)
            said = _run_through(forker, entry)
        except OSError as error:
            return [f"no kernel could be confined: {error}"]
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


def _run_through(forker: Forker, entry: Entry) -> str:
    """Let a kernel come to its end, and its keeper; gives what either said. Raises OSError."""
    channel = entry.channel
    assert channel is not None  # noqa: S101 - just made
    data, namespaces, _, _ = socket.recv_fds(channel, REPORT_BYTES, NAMESPACES)
    said = data.decode(errors="replace")
    if namespaces:
        forker.admit(entry, namespaces)
        assert entry.kernel is not None  # noqa: S101 - just forked
        assert entry.report is not None  # noqa: S101 - just made
        os.waitpid(entry.kernel, 0)
        with contextlib.suppress(BlockingIOError):
            said = os.read(entry.report, REPORT_BYTES).decode(errors="replace")
        for descriptor in (*namespaces, entry.report):
            os.close(descriptor)
    channel.close()  # which ends the keeper
    os.waitpid(entry.pid, 0)
    return said


def _descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")}


def _is_file(number: int) -> bool:
    """Whether a descriptor that imports have left open is a file, such as a font's, that forks need too."""
    try:
        return os.path.isfile(f"/proc/self/fd/{number}")
    except OSError:
        return False
