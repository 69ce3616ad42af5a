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
    uv: Path | None = Field(None, description="the uv program that builds environments")
    package_index_url: SecretStr | None = Field(None, description="package index (simple API); PyPI where not set")
    package_extra_index_urls: SecretStr | None = Field(None, description="comma separated, asked before the other one")
    package_source_builds: bool = Field(False, description="build packages that have no wheel; runs their programs")
    environments_max_bytes: int = Field(
        20_000_000_000, ge=1, description="what built environments may take before the longest unused are removed"
    )
    drain_timeout: float = Field(30.0, ge=0, description="seconds that runs may take to finish on SIGTERM")
