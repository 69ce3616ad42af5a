"""The system call filter of kernels and builds: a list of what is allowed, no network but unix sockets, no way to other
processes, mounts or namespaces."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Sequence

from services.executor.kernels.forkserver import system, system_calls

LOAD, JEQ, JGE, JSET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of classic BPF (linux/bpf_common.h): load a word, compare, end."""

OFFSET_NUMBER, OFFSET_ARCHITECTURE, OFFSET_ARGUMENT_0, OFFSET_ARGUMENT_1 = 0, 4, 16, 24
"""Into struct seccomp_data (seccomp(2)); arguments have 8 bytes, the low half first on these architectures."""

ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

X32_BIT = 0x40000000
"""On x86_64 the same calls exist a second time from this number on."""

UNCOUNTED = {
    "x86_64": {"shmget": 29, "memfd_create": 319, "memfd_secret": 447},
    "aarch64": {"shmget": 194, "memfd_create": 279, "memfd_secret": 447},
}
"""Calls that make memory which belongs to no process: only a control group counts it. Denied where there is none."""

CONCERNING_PROCESSES = {
    "x86_64": {
        "prlimit64": 302, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setaffinity": 203,
        "sched_setattr": 314,
    },
    "aarch64": {
        "prlimit64": 261, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122,
        "sched_setattr": 274,
    },
}  # fmt: skip
"""Calls that change the process, or thread, which their first argument names. Without a pid namespace only oneself: the
worker may have the same user. In one there is nobody else."""

PRETENDED = ("sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr")
"""Those that libraries make for their own threads, whose numbers a filter does not know, and end the process where they
fail (ZeroMQ): for any other number than one's own they do nothing and say that it is done."""

CONCERNING_GROUPS = {
    "x86_64": {"setpriority": 141, "ioprio_set": 251},
    "aarch64": {"setpriority": 140, "ioprio_set": 30},
}
"""The same with a kind first (one process, a group, a user) and the process second."""

ONE_PROCESS = {"setpriority": 0, "ioprio_set": 1}
"""PRIO_PROCESS and IOPRIO_WHO_PROCESS, which is also one thread."""

PERSONALITY = {"x86_64": 135, "aarch64": 92}
PERSONALITIES = (0x0, 0x8, 0xFFFFFFFF)
"""Linux, Linux of 32 bits, and the question which one there is: as in Docker's default profile."""

SOCKET = {"x86_64": 41, "aarch64": 198}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
"""Its flags lie in memory, where a filter cannot look; ENOSYS has the C library use clone instead."""

IOCTL = {"x86_64": 16, "aarch64": 29}
DENIED_IOCTLS = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCCONS": 0x541D, "TIOCSETD": 0x5423}
"""Requests to a terminal that no notebook needs (ioctl_tty(2)): input in another's name, the console, and line
disciplines, for which the system loads drivers of devices that nobody has here."""


class _Code:
    """Instructions in the order they are run."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    def add(self, instruction: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self.entries.append(struct.pack("=HBBI", instruction, if_true, if_false, value))

    def when(self, number: int, *checks: tuple[int, Sequence[int]], otherwise: int) -> None:
        """A call is allowed when each argument (its offset) has one of some values; `otherwise` is the answer."""
        body = sum(len(values) + 2 for _, values in checks) + 1
        self.add(JEQ, number, 0, body)
        for offset, values in checks:
            self.add(LOAD, offset)
            for left, value in zip(reversed(range(len(values))), values, strict=True):
                self.add(JEQ, value, left + 1, 0)
            self.add(RETURN, FAIL | otherwise)
        self.add(RETURN, ALLOW)


def program(*, inet: bool = False, counted: bool = True, own_pid: int | None = None) -> bytes:
    """The filter as struct sock_filter entries: what is not allowed fails, and only programs for another architecture
    are killed. Raises OSError on an architecture that it is not written for.

    `inet` lets the internet's sockets through: for who has a network namespace of its own, or is to use the network.
    Unless memory is `counted` by a control group, none is to be had that belongs to no process. `own_pid` is that of a
    process without a pid namespace of its own: it may change itself alone.
    """
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise OSError(f"no system call filter for {machine}")
    allowed = set(system_calls.ALLOWED[machine].values())
    allowed |= set(UNCOUNTED[machine].values()) if counted else set()
    concerning = {**CONCERNING_PROCESSES[machine], **CONCERNING_GROUPS[machine]}
    allowed |= set(concerning.values()) if own_pid is None else set()
    code = _Code()
    code.add(LOAD, OFFSET_ARCHITECTURE)
    code.add(JEQ, ARCHITECTURES[machine], 1, 0)
    code.add(RETURN, KILL)
    code.add(LOAD, OFFSET_NUMBER)
    code.add(JGE, X32_BIT, 0, 1)
    code.add(RETURN, FAIL | errno.EPERM)
    code.add(JEQ, CLONE3, 0, 1)
    code.add(RETURN, FAIL | errno.ENOSYS)
    families = [socket.AF_UNIX, *((socket.AF_INET, socket.AF_INET6) if inet else ())]
    code.when(SOCKET[machine], (OFFSET_ARGUMENT_0, families), otherwise=errno.EACCES)
    code.when(PERSONALITY[machine], (OFFSET_ARGUMENT_0, PERSONALITIES), otherwise=errno.EPERM)
    if own_pid is not None:
        for name, number in CONCERNING_PROCESSES[machine].items():
            done = 0 if name in PRETENDED else errno.EPERM
            code.when(number, (OFFSET_ARGUMENT_0, (0, own_pid)), otherwise=done)
        for name, number in CONCERNING_GROUPS[machine].items():
            checks = ((OFFSET_ARGUMENT_0, (ONE_PROCESS[name],)), (OFFSET_ARGUMENT_1, (0, own_pid)))
            code.when(number, *checks, otherwise=errno.EPERM)
    _unless_terminal_request(code, machine)
    code.add(JEQ, CLONE[machine], 0, 4)
    code.add(LOAD, OFFSET_ARGUMENT_0)
    code.add(JSET, system.NAMESPACE_FLAGS, 0, 1)
    code.add(RETURN, FAIL | errno.EPERM)
    code.add(RETURN, ALLOW)
    for first, last in _ranges(allowed):
        code.add(JGE, last + 1, 3, 0)
        code.add(JGE, first, 1, 0)
        code.add(RETURN, FAIL | errno.EPERM)
        code.add(RETURN, ALLOW)
    code.add(RETURN, FAIL | errno.ENOSYS)  # of a later system: the C library does without it
    return b"".join(code.entries)


def _unless_terminal_request(code: _Code, machine: str) -> None:
    code.add(JEQ, IOCTL[machine], 0, len(DENIED_IOCTLS) + 3)
    code.add(LOAD, OFFSET_ARGUMENT_1)
    for left, request in zip(reversed(range(len(DENIED_IOCTLS))), DENIED_IOCTLS.values(), strict=True):
        code.add(JEQ, request, left + 1, 0)
    code.add(RETURN, ALLOW)
    code.add(RETURN, FAIL | errno.EPERM)


def _ranges(numbers: set[int]) -> list[tuple[int, int]]:
    """First and last of each run of numbers, in order."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def install(*, inet: bool = False, counted: bool = True, alone: bool) -> None:
    """Filter this process and its children for good; `no_new_privs` must be set. `alone`: it has a pid namespace of its
    own. Raises OSError."""
    code = program(inet=inet, counted=counted, own_pid=None if alone else os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(header, len(header))
    system.prctl(system.PR_SET_SECCOMP, system.SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(holder)))
