"""Bytes that one process has sent and the other has not read, by the operating system's own account."""

from __future__ import annotations

from pathlib import Path

import psutil

BODY_BYTES = 16 * 1024
"""More than any request's head, in bytes: what waits beyond this is part of a body."""


def bodies_in_flight(sender: int | None, port: int) -> int:
    """How many connections of a process, or of those that it has started, to a port of this machine hold part of a body
    that nobody has read yet."""
    process = psutil.Process(sender)
    mine = {each for one in (process, *process.children(recursive=True)) for each in _local_ports(one, port)}
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(_port(line, 1) == port and _port(line, 2) in mine and _unread(line) >= BODY_BYTES for line in lines)


def _local_ports(process: psutil.Process, port: int) -> set[int]:
    try:
        connections = process.net_connections("tcp4")
    except psutil.NoSuchProcess:
        return set()
    return {each.laddr.port for each in connections if each.raddr and each.raddr.port == port}


def _port(line: str, column: int) -> int:
    return int(line.split()[column].rpartition(":")[2], 16)


def _unread(line: str) -> int:
    return int(line.split()[4].rpartition(":")[2], 16)
