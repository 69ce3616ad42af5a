"""The looker of the leak tests sees what it is to see: each kind of leftover, made on purpose."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

import pytest

from tests.support.leftovers import IPC_KEY, KERNEL_UIDS, LEFT, shared_objects, unix_sockets

IPC_CREAT, IPC_RMID = 0o1000, 0
"""From sys/ipc.h."""


def test_a_shared_segment_is_seen() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    before = shared_objects()
    segment = libc.shmget(IPC_KEY, 4096, IPC_CREAT | 0o600)
    assert segment >= 0, os.strerror(ctypes.get_errno())
    try:
        assert shared_objects() == before + 1
    finally:
        libc.shmctl(segment, IPC_RMID, None)


@pytest.mark.parametrize("owned", [False, True])
def test_a_shared_file_is_seen(owned: bool) -> None:
    before = shared_objects()
    by_owner = owned and os.geteuid() == 0  # only root has users to give away, and only then do kernels have their own
    path = Path("/dev/shm", f"{'another' if by_owner else LEFT}-{os.getpid()}")
    path.touch()
    try:
        if by_owner:
            os.chown(path, KERNEL_UIDS.start, -1)
        assert shared_objects() == before + 1
    finally:
        path.unlink()


def test_local_sockets_are_told_from_others() -> None:
    before = unix_sockets(os.getpid())
    pair = socket.socketpair()
    with pair[0], pair[1], socket.socket(socket.AF_INET):
        assert unix_sockets(os.getpid()) == before + 2
    assert unix_sockets(os.getpid()) == before
