"""What the worker's operator decides about kernels of the fork server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.isolation import Level


@dataclass(frozen=True, kw_only=True)
class ForkOptions:
    """How kernels are forked, started and kept ready."""

    python: Path
    imports: list[str]
    uids: tuple[int, int]
    limits: Limits
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    pool_size: int = 1
    pool_sizes: Mapping[str, int] = field(default_factory=dict)
    """Kernels of other types kept ready from the start; without an entry, or with 0: one, from the first use on."""
    environment_spares: int = 2
    """How many built environments, those used last, keep a kernel ready."""
    minimum: Level = "strong"
    start_timeout_s: float = 60.0
    without_layers: list[str] = field(default_factory=list)
