"""How a kernel that is not forked from the warm server is started: its command line and what it needs around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Transport = Literal["ipc", "tcp"]
"""What the kernel listens on: unix sockets in its run folder, or ports of its own loopback interface."""


@dataclass(frozen=True, kw_only=True)
class KernelCommand:
    """One way to start a kernel; `{connection_file}` in `argv` stands for the connection file's path."""

    argv: tuple[str, ...]
    transport: Transport = "ipc"
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those that every kernel gets."""
    readable: tuple[Path, ...] = ()
    """Folders outside the system's that the kernel must be able to read, for level `strong`."""
    ended_by: str = "os._exit called or the interpreter ended"
    """What has most likely happened when the kernel's process ends by itself, in its language's terms."""
    waits_for_reader: bool = False
    """Whether the kernel waits while its outputs are not read (`forkserver.outlet`); others may drop them."""
    start_timeout_s: float | None = None
    """Seconds until a starting kernel counts as stuck, where it is slower than others."""
    start_processors: int = 1
    """How many processors a start keeps busy."""
