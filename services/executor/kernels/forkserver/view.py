"""What a kernel sees of the file system: the system, its interpreter and environment, its run folder, nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

from services.executor.kernels.forkserver import system

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
PROCESSORS = "/sys/devices/system/cpu"
"""How many processors there are, which numeric libraries ask."""

DEVICES = ("null", "zero", "full", "random", "urandom")

ETC = (
    "alternatives", "debian_version", "fonts", "fstab", "hostname", "java-17-openjdk", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "localtime", "locale.alias", "magic", "mime.types", "nsswitch.conf", "os-release", "protocols", "R",
    "services", "ssl/certs", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
"""What of /etc kernels get, as copies: how programs are found and written for, and no service's configuration."""

NETWORK_FILES = (
    "/etc/ca-certificates", "/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs", "/etc/resolv.conf",
)  # fmt: skip
"""What else of /etc programs need that use the network: how names are found, and whom to believe."""

ACCOUNTS = "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"

ROOT_OPTIONS = "size=1m,nr_inodes=8k,mode=755"
SHM_OPTIONS = "size=25%,mode=1777"
TMP_OPTIONS = "size=256m,mode=1777"
"""The view's /tmp is in memory, for programs that know no other place; TMPDIR points into the run folder."""

TERMINALS_OPTIONS = "newinstance,ptmxmode=0666,mode=0600,max=64"
"""A view has pseudo-terminals of its own, which nobody else can name, and few: a machine has so many for all."""

TERMINALS = "/dev/pts"

KEPT_FLAGS = system.MS_RDONLY | system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC | system.MS_NOATIME
"""Flags of statvfs(3) that have the same bit in mount(2)."""

WRITABLE = ("outputs", "work", "home", "tmp", "k")
"""What of a run folder belongs to its kernel; `k` holds the kernel's sockets."""


def environment_paths(extra: list[str]) -> list[str]:
    """Where this interpreter and what is installed for it lie, outermost folders only, links followed too."""
    found = [sys.prefix, sys.base_prefix, *(path for path in sys.path if Path(path).exists()), *extra]
    return outermost(found)


def outermost(found: list[str], but: list[str] | None = None) -> list[str]:
    """Folders by their own and their real names, without those inside of others, of the system's, or of `but`."""
    candidates = sorted({form for path in found for form in (os.path.abspath(path), os.path.realpath(path))})
    kept: list[str] = []
    for path in candidates:
        if path != "/" and not any(Path(path).is_relative_to(other) for other in (*SYSTEM, *(but or ()), *kept)):
            kept.append(path)
    return kept


def copy_etc(folder: Path) -> None:
    """Make the /etc of kernels, once per server."""
    folder.mkdir(mode=0o755)
    for name in ETC:
        source, target = Path("/etc", name), folder / name
        target.parent.mkdir(mode=0o755, exist_ok=True)
        try:
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            elif source.exists():
                shutil.copyfile(source, target)
        except (OSError, shutil.Error):
            continue  # what the server's user cannot read is not for kernels either
    (folder / "passwd").write_text(ACCOUNTS, encoding="ascii")
    (folder / "group").write_text(GROUP, encoding="ascii")
    (folder / "hosts").write_text("127.0.0.1 localhost kernel\n", encoding="ascii")


def readable(environment: list[str], *, in_view: bool) -> list[str]:
    """Paths that a kernel may read. Outside of a view `/etc` and `/dev` are the machine's own, with passwords,
    private keys and disks."""
    etc = ["/etc"] if in_view else [f"/etc/{name}" for name in (*ETC, "group", "hosts", "passwd")]
    devices = ["/dev"] if in_view else [f"/dev/{name}" for name in DEVICES]
    return [*SYSTEM, *etc, "/proc", *devices, PROCESSORS, *environment]


def enter(
    stage: str, etc: str, environment: list[str], run_dir: str, *, guarded: bool, account: int | None = None
) -> None:
    """Replace the root by the view, built on the empty folder `stage`. The process must have mount and pid namespaces
    of its own; raises OSError. `guarded`: of the run folder only what is the kernel's can be written, whoever owns it.
    `account`: the user that is named `kernel` there.
    """
    flags = begin(stage, environment)
    _bind(etc, f"{stage}/etc", system.MS_RDONLY | flags)
    if account is not None:
        accounts = Path(f"{stage}/run/passwd")
        accounts.write_text(f"{ACCOUNTS}kernel:x:{account}:{account}:kernel:{run_dir}/home:/bin/sh\n", encoding="utf-8")
        _bind(str(accounts), f"{stage}/etc/passwd", system.MS_RDONLY | flags)
    os.makedirs(stage + run_dir, 0o755, exist_ok=True)
    _bind(run_dir, stage + run_dir, flags | (system.MS_RDONLY if guarded else 0))
    if guarded:
        for name in WRITABLE:
            _bind(f"{run_dir}/{name}", f"{stage}{run_dir}/{name}", flags)
    finish(stage)


def enter_with_network(stage: str, environment: list[str], writable: list[str]) -> None:
    """Replace the root by a view in which only the `writable` folders can be written, for who may use the network. As
    `enter` otherwise."""
    flags = begin(stage, environment)
    for path in (*(f"/etc/{name}" for name in ETC), *NETWORK_FILES):
        _show(stage, path)
    for path in writable:
        os.makedirs(stage + path, 0o755, exist_ok=True)
        _bind(path, stage + path, flags)
    finish(stage)


def begin(stage: str, environment: list[str]) -> int:
    """The part of a view that all have in common; gives the flags of its mounts."""
    system.mount(None, "/", None, system.MS_REC | system.MS_PRIVATE)
    system.mount("tmpfs", stage, "tmpfs", system.MS_NOSUID | system.MS_NODEV, ROOT_OPTIONS)
    for folder in ("tmp", "dev", "proc", "etc", "run"):
        os.mkdir(f"{stage}/{folder}", 0o755)
    flags = system.MS_NOSUID | system.MS_NODEV
    system.mount("tmpfs", f"{stage}/tmp", "tmpfs", flags, TMP_OPTIONS)  # noqa: S108 - of the view
    for path in (*SYSTEM, *environment):
        _show(stage, path)
    if os.path.isdir(PROCESSORS):
        _show(stage, PROCESSORS)
    for name in DEVICES:
        Path(f"{stage}/dev/{name}").touch()
        # Read-only: what is written to a device goes to the device, but its mode and times are everybody's.
        _bind(f"/dev/{name}", f"{stage}/dev/{name}", system.MS_RDONLY | system.MS_NOSUID | system.MS_NOEXEC)
    os.mkdir(f"{stage}/dev/shm", 0o1777)  # noqa: S108 - of the view
    system.mount("tmpfs", f"{stage}/dev/shm", "tmpfs", flags | system.MS_NOEXEC, SHM_OPTIONS)  # noqa: S108
    os.mkdir(stage + TERMINALS, 0o755)
    # Where it is refused there are no terminals: IPython's shell commands go through pipes then.
    with contextlib.suppress(OSError):
        system.mount("devpts", stage + TERMINALS, "devpts", system.MS_NOSUID | system.MS_NOEXEC, TERMINALS_OPTIONS)
        os.symlink("pts/ptmx", f"{stage}/dev/ptmx")
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{stage}/dev/{name}")
    system.mount("proc", f"{stage}/proc", "proc", flags | system.MS_NOEXEC)
    return flags


def finish(stage: str) -> None:
    """Make the view the root."""
    system.change_root(stage)
    flags = system.MS_NOSUID | system.MS_NODEV
    system.mount(None, "/", None, system.MS_REMOUNT | system.MS_BIND | system.MS_RDONLY | flags)


def _show(stage: str, path: str) -> None:
    """Make a path of the outside readable at the same place inside; a link stays a link."""
    target = stage + path
    if os.path.islink(path) and path in SYSTEM:
        os.symlink(os.readlink(path), target)
    elif os.path.isdir(path):
        os.makedirs(target, 0o755, exist_ok=True)
        _bind(path, target, system.MS_RDONLY | system.MS_NOSUID | system.MS_NODEV)
    elif os.path.exists(path):
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        Path(target).touch()
        _bind(path, target, system.MS_RDONLY | system.MS_NOSUID | system.MS_NODEV)


def _bind(source: str, target: str, flags: int) -> None:
    system.mount(source, target, None, system.MS_BIND)
    # In a user namespace the flags that the source was mounted with may not be taken off.
    flags |= os.statvfs(target).f_flag & KEPT_FLAGS
    system.mount(None, target, None, system.MS_REMOUNT | system.MS_BIND | flags)
