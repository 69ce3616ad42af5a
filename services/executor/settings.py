"""Settings of the executor's two roles."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings


class ExecutorSettings(ServiceSettings):
    """What both roles need."""

    executor_postgres_dsn: SecretStr
    max_active_runs: int = Field(100, ge=1, description="runs of one tenant at a time, unless its row says otherwise")
    max_queued_runs: int = Field(10_000, ge=1, description="waiting runs of one tenant, unless its row says otherwise")


class WorkerSettings(ExecutorSettings):
    """What a worker needs besides."""

    worker_slots: int = Field(2 * (os.cpu_count() or 1), ge=1, description="runs of this worker at a time")
    kernel_python: Path = Field(Path(sys.executable), description="interpreter of the base kernel environment")
    kernel_start_timeout: float = Field(60.0, gt=0, description="seconds until a starting kernel counts as stuck")
    drain_timeout: float = Field(30.0, ge=0, description="seconds that runs may take to finish on SIGTERM")
