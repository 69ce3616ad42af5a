"""Runs one command in the sandbox that kernels have, with the network where it is asked for: a build of an
environment.

It stands alone like the fork server: the worker starts it with what `main` reads, and ends it to end the build. Of the
layers it applies those that hold here; where that is less than the operator wants, the command is not run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any, NoReturn

from services.executor.kernels.forkserver import confinement, landlock, seccomp, system, view
from services.executor.kernels.forkserver.cgroups import Group, GroupLimits, Groups
from services.executor.kernels.forkserver.confinement import Limits

REFUSED = 97
"""Exit status of a launcher that has not run the command; what is missing stands on its standard error."""

NAMESPACES = system.CLONE_NEWPID | system.CLONE_NEWNS | system.CLONE_NEWIPC | system.CLONE_NEWUTS


def main() -> None:
    """`argv` has the configuration as JSON and the command: what it may read and write, the ports it may connect to
    where it is `online`, its limits, an empty folder `stage`, `minimum`, and the user `uid` that it runs as where this
    process is root and has namespaces."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    confinement.die_with_parent()
    limits = Limits(**wanted["limits"])
    privileged = system.is_privileged()
    groups, group = _group(limits)
    namespaces = "namespaces" not in wanted["without"] and _unshare(online=wanted["online"])
    missing = [] if namespaces or wanted["minimum"] != "strong" else ["pid and mount namespaces"]
    abi = landlock.abi()
    if wanted["minimum"] != "none" and (abi == 0 or (abi < landlock.CONFINING_ABI and not namespaces)):
        missing.append("Landlock")
    if missing:
        sys.stderr.write(f"error: environments cannot be built safely by this worker; missing: {', '.join(missing)}\n")
        sys.exit(REFUSED)
    uid = wanted["uid"] if privileged and namespaces else None
    if uid is not None:
        for path in wanted["writable"]:
            hand_over(path, uid)
    elif os.getuid() == 0 and not namespaces:
        sys.stderr.write("warning: builds run as root here: there are no namespaces for a user of their own\n")
    pid = os.fork()
    if pid == 0:
        _become(wanted, command, limits, group, namespaces=namespaces, uid=uid)
    _, ended, usage = os.wait4(pid, 0)
    status = os.waitstatus_to_exitcode(ended)
    if group is not None:
        group.remove()
    if groups is not None:
        groups.close()
    # Process 1 of a namespace hears no warning: it is killed a little later.
    over = limits.cpu_seconds is not None and usage.ru_utime + usage.ru_stime >= limits.cpu_seconds
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and over):
        sys.stderr.write(f"error: the CPU time limit of {limits.cpu_seconds} seconds was reached\n")
    sys.exit(status if status >= 0 else 128 - status)


def hand_over(path: str, uid: int) -> None:
    """Give a folder and what is in it to the user of builds. No build runs there now; links are not followed, and a
    file with several names stays whose it is."""
    group = os.stat(path).st_gid
    os.chown(path, uid, group)
    for root, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = os.path.join(root, name)
            found = os.lstat(entry)
            if found.st_uid != uid and (found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)):
                os.chown(entry, uid, group, follow_symlinks=False)


def _group(limits: Limits) -> tuple[Groups | None, Group | None]:
    """A control group of its own, where that can be had."""
    with contextlib.suppress(OSError):
        groups = Groups()
        if groups.controllers:
            own = GroupLimits(memory_bytes=limits.memory_bytes, processes=limits.processes)
            return groups, groups.make("build", own)
    return None, None


def _unshare(*, online: bool) -> bool:
    """Whether the next child is process 1 of a namespace, with mounts of its own and, unless `online`, no network."""
    network = 0 if online else system.CLONE_NEWNET
    try:
        if system.is_privileged():
            system.unshare(NAMESPACES | network)
        elif confinement.user_namespace_is_of_use():
            confinement.enter_user_namespace()
            system.unshare(system.CLONE_NEWIPC | system.CLONE_NEWUTS | network)
        else:
            return False
    except OSError:
        return False
    return True


def _become(
    wanted: dict[str, Any],
    command: list[str],
    limits: Limits,
    group: Group | None,
    *,
    namespaces: bool,
    uid: int | None,
) -> NoReturn:
    """The child: confined, then the command."""
    try:
        confinement.die_with_parent()
        if group is not None:
            group.enter()
        readable = view.outermost(wanted["readable"])
        here = os.getcwd()
        if namespaces:
            view.enter_with_network(wanted["stage"], readable, wanted["writable"])
            os.chdir(here)
        confinement.set_limits(limits, own_user=False)
        # Without a user of its own it has the worker's, without what root may.
        confinement.drop_user(uid)
        confinement.die_with_parent()
        system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
        if landlock.abi():
            devices = [f"/dev/{name}" for name in view.DEVICES]
            landlock.restrict(
                [*view.readable(readable, in_view=namespaces), *view.NETWORK_FILES],
                [*wanted["writable"], *devices, "/dev/shm", *(["/tmp"] if namespaces else [])],  # noqa: S108
                connect_to=wanted["ports"],
            )
        seccomp.install(inet=wanted["online"], alone=namespaces)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(command[0], command, os.environ)  # noqa: S606 - there is no shell
    except OSError as error:
        sys.stderr.write(f"error: the build could not be confined: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(REFUSED)


def program(checkout: Path) -> list[str]:
    """The beginning of a command line that runs this module alone, without what is installed for the interpreter."""
    text = (
        f"import sys; sys.path.insert(0, {str(checkout)!r})\n"
        "from services.executor.kernels.forkserver import launcher\n"
        "launcher.main()"
    )
    return [sys.executable, "-I", "-S", "-c", text]
