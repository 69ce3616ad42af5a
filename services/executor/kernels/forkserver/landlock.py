"""Landlock (kernel 5.13 and newer): which files a process may touch from now on, no TCP, no signal to the outside."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Sequence

from services.executor.kernels.forkserver import system

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System call numbers, the same on every architecture (landlock(7))."""

RULE_PATH_BENEATH, RULE_NET_PORT, GET_VERSION = 1, 2, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that make sense on a file; the others are refused there."""

CONNECT_TCP = 0b10
NET_TCP = 0b01 | CONNECT_TCP
"""Bind and connect (ABI 4)."""

SCOPES = 0b11
"""No abstract unix socket and no signal outside the domain (ABI 6)."""

CONFINING_ABI = 6
"""From here Landlock alone keeps signals in, which level `confined` needs."""


def abi() -> int:
    """Landlock's version here, 0 where there is none."""
    try:
        return system.syscall(CREATE_RULESET, 0, 0, GET_VERSION, what="landlock")
    except OSError:
        return 0


def restrict(
    readable: Sequence[str], writable: Sequence[str], *, tcp: bool = False, connect_to: Sequence[int] = ()
) -> None:
    """Allow this process and its children nothing but these paths, for good. Raises OSError where that is refused.

    `no_new_privs` must be set. Paths that do not exist are passed over. `tcp` leaves all of TCP to them, for a process
    whose network namespace has nothing to be held off from; `connect_to` only connections to these ports.
    """
    version = abi()
    if version == 0:
        raise OSError("this kernel has no Landlock")
    everything = (1 << 13) - 1
    if version >= 2:
        everything |= REFER
    if version >= 3:
        everything |= TRUNCATE
    if version >= 5:
        everything |= IOCTL_DEV
    network = NET_TCP if version >= 4 and not tcp else 0
    attributes = struct.pack("=QQQ", everything, network, SCOPES if version >= 6 else 0)
    size = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}.get(version, 24)
    ruleset = system.syscall(
        CREATE_RULESET, ctypes.c_char_p(attributes[:size]), size, 0, what="landlock_create_ruleset"
    )
    try:
        for path in readable:
            _allow(ruleset, path, EXECUTE | READ_FILE | READ_DIR)
        for path in writable:
            _allow(ruleset, path, everything)
        for port in connect_to if network else ():
            rule = struct.pack("=QQ", CONNECT_TCP, port)
            system.syscall(ADD_RULE, ruleset, RULE_NET_PORT, ctypes.c_char_p(rule), 0, what="landlock_add_rule")
        system.syscall(RESTRICT_SELF, ruleset, 0, what="landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ON_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        system.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.c_char_p(rule), 0, what=f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)
