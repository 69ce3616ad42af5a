"""The system call filter of kernels: no network but unix sockets, no way to other processes, mounts or namespaces."""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct

from services.executor.kernels.forkserver import system

LOAD, JEQ, JGE, JSET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of classic BPF (linux/bpf_common.h): load a word, compare, end."""

OFFSET_NUMBER, OFFSET_ARCHITECTURE, OFFSET_ARGUMENT_0, OFFSET_ARGUMENT_1 = 0, 4, 16, 24
"""Into struct seccomp_data (seccomp(2)); arguments have 8 bytes, the low half first on these architectures."""

ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

X32_BIT = 0x40000000
"""On x86_64 the same calls exist a second time from this number on."""

_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}

DENIED: dict[str, dict[str, int]] = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "mknod": 133, "uselib": 134, "modify_ldt": 154, "pivot_root": 155,
        "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
        "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172,
        "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "lookup_dcookie": 212,
        "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
        "mknodat": 259, "unshare": 272, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": {
        "lookup_dcookie": 18, "mknodat": 33, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51,
        "quotactl": 60, "acct": 89, "kexec_load": 104, "init_module": 105, "delete_module": 106,
        "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161,
        "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "add_key": 217, "request_key": 218,
        "keyctl": 219, "swapon": 224, "swapoff": 225, "unshare": 97, "perf_event_open": 241,
        "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266,
        "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273,
        "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
    },
}  # fmt: skip
"""Calls that fail with EPERM, by architecture (asm/unistd.h). io_uring is among them: it opens sockets unseen."""

UNCOUNTED = {
    "x86_64": {"shmget": 29, "memfd_create": 319, "memfd_secret": 447},
    "aarch64": {"shmget": 194, "memfd_create": 279, "memfd_secret": 447},
}
"""Calls that make memory which belongs to no process: only a control group counts it. Denied where there is none."""

SOCKET = {"x86_64": 41, "aarch64": 198}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
"""Its flags lie in memory, where a filter cannot look; ENOSYS has the C library use clone instead."""

IOCTL = {"x86_64": 16, "aarch64": 29}
DENIED_IOCTLS = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCCONS": 0x541D, "TIOCSETD": 0x5423}
"""Requests to a terminal that no notebook needs (ioctl_tty(2)): input in another's name, the console, and line
disciplines, for which the system loads drivers of devices that nobody has here."""

UNFILTERED = {"mknod", "mknodat"}
"""Named pipes and sockets are made by these too; devices are held off by the missing capability and nodev mounts."""


def program(*, inet: bool = False, counted: bool = True) -> bytes:
    """The filter as struct sock_filter entries. Raises OSError on an architecture that it is not written for.

    `inet` lets the internet's sockets through: for who has a network namespace of its own, or is to use the network.
    Unless memory is `counted` by a control group, none is to be had that belongs to no process."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise OSError(f"no system call filter for {machine}")
    numbers = [number for name, number in DENIED[machine].items() if name not in UNFILTERED]
    numbers += [*_COMMON.values(), *(() if counted else UNCOUNTED[machine].values())]
    code: list[bytes] = []

    def add(instruction: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        code.append(struct.pack("=HBBI", instruction, if_true, if_false, value))

    add(LOAD, OFFSET_ARCHITECTURE)
    add(JEQ, ARCHITECTURES[machine], 1, 0)
    add(RETURN, KILL)
    add(LOAD, OFFSET_NUMBER)
    add(JGE, X32_BIT, 0, 1)
    add(RETURN, FAIL | errno.EPERM)
    for number in numbers:
        add(JEQ, number, 0, 1)
        add(RETURN, FAIL | errno.EPERM)
    add(JEQ, CLONE3, 0, 1)
    add(RETURN, FAIL | errno.ENOSYS)
    families = [socket.AF_UNIX, *((socket.AF_INET, socket.AF_INET6) if inet else ())]
    add(JEQ, SOCKET[machine], 0, len(families) + 3)
    add(LOAD, OFFSET_ARGUMENT_0)
    for left, family in zip(reversed(range(len(families))), families, strict=True):
        add(JEQ, family, left + 1, 0)
    add(RETURN, FAIL | errno.EACCES)
    add(RETURN, ALLOW)
    add(JEQ, IOCTL[machine], 0, len(DENIED_IOCTLS) + 3)
    add(LOAD, OFFSET_ARGUMENT_1)
    for left, request in zip(reversed(range(len(DENIED_IOCTLS))), DENIED_IOCTLS.values(), strict=True):
        add(JEQ, request, left + 1, 0)
    add(RETURN, ALLOW)
    add(RETURN, FAIL | errno.EPERM)
    add(JEQ, CLONE[machine], 0, 3)
    add(LOAD, OFFSET_ARGUMENT_0)
    add(JSET, system.NAMESPACE_FLAGS, 0, 1)
    add(RETURN, FAIL | errno.EPERM)
    add(RETURN, ALLOW)
    return b"".join(code)


def install(*, inet: bool = False, counted: bool = True) -> None:
    """Filter this process and its children for good; `no_new_privs` must be set. Raises OSError."""
    code = program(inet=inet, counted=counted)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(header, len(header))
    system.prctl(system.PR_SET_SECCOMP, system.SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(holder)))
