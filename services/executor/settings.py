"""Settings of the executor's two roles."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.settings import ServiceSettings

KERNEL_IMPORTS = (
    "numpy",
    "pandas",
    "pyarrow",
    "pyarrow.parquet",
    "matplotlib",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "scipy.stats",
    "sklearn",
    "sklearn.cluster",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.tree",
    "mindzie_sdk",
    "process_mining_utils",
)
"""What most notebooks import; it is imported once, not by every kernel."""


class ExecutorSettings(ServiceSettings):
    """What both roles need."""

    executor_postgres_dsn: SecretStr
    max_active_runs: int = Field(100, ge=1, description="runs of one tenant at a time, unless its row says otherwise")
    max_queued_runs: int = Field(10_000, ge=1, description="waiting runs of one tenant, unless its row says otherwise")
    reserved_slots_share: float = Field(
        0.25, ge=0, lt=1, description="part of all slots, rounded down, that is kept for tenants that have none"
    )
    # The worker keeps these limits, control tells of them: both are to be told the same.
    kernel_memory_mb: int = Field(4096, ge=256, description="memory of one run's processes together, in MB")
    kernel_processes: int = Field(512, ge=16, description="processes and threads of one run")
    kernel_open_files: int = Field(4096, ge=256, description="open files of one process")
    kernel_file_mb: int = Field(10_000, ge=1, description="size of one file that a run writes, in MB")
    kernel_disk_mb: int = Field(20_000, ge=1, description="what a run's files may take together, in MB")
    kernel_files: int = Field(100_000, ge=100, description="files and folders of a run")
    kernel_cpu_seconds: int | None = Field(
        None, ge=1, description="processor time of a run's processes together, in seconds"
    )
    kernel_processors: float | None = Field(None, gt=0, description="processors one run may use at a time")


class WorkerSettings(ExecutorSettings):
    """What a worker needs besides."""

    worker_slots: int = Field(2 * (os.cpu_count() or 1), ge=1, description="runs of this worker at a time")
    kernel_python: Path = Field(Path(sys.executable), description="interpreter of the base kernel environment")
    kernel_start_timeout: float = Field(60.0, gt=0, description="seconds until a starting kernel counts as stuck")
    kernel_r: Path | None = Field(None, description="the R program, with IRkernel installed; no R kernel where not set")
    kernel_scala: Path | None = Field(
        None, description="the environment that holds Toree and Spark; no Scala kernel where not set"
    )
    kernel_java: Path = Field(Path("java"), description="the Java program (17) that runs the Scala kernel")
    uv: Path | None = Field(None, description="the uv program that builds environments")
    package_index_url: SecretStr | None = Field(None, description="package index (simple API); PyPI where not set")
    package_extra_index_urls: SecretStr | None = Field(None, description="comma separated, asked before the other one")
    package_source_builds: bool = Field(False, description="build packages that have no wheel; runs their programs")
    environments_max_bytes: int = Field(
        20_000_000_000, ge=1, description="what built environments may take before the longest unused are removed"
    )
    kernel_shutdown_grace: float = Field(
        2.0, ge=0, description="seconds that a kernel may take to end by itself after its last cell"
    )
    drain_timeout: float = Field(30.0, ge=0, description="seconds that runs may take to finish on SIGTERM")
    isolation_minimum: Literal["strong", "confined", "none"] = Field(
        "strong", description="the worker refuses to start where kernels cannot be isolated this well"
    )
    kernel_pool_size: int | None = Field(None, ge=0, description="kernels kept ready; as many as slots where not set")
    kernel_pool_r: int = Field(0, ge=0, description="R kernels ready from the start; with 0, one from the first use on")
    kernel_pool_scala: int = Field(
        0, ge=0, description="Scala kernels ready from the start; with 0, one from the first use on"
    )
    kernel_pool_environments: int = Field(
        2, ge=0, description="built environments, those used last, that keep one kernel ready"
    )
    kernel_imports: Annotated[tuple[str, ...], NoDecode] = Field(
        KERNEL_IMPORTS, description="comma separated modules that kernels find imported"
    )
    kernel_first_uid: int = Field(200_000, ge=1000, description="the first of the users that kernels run as")
    build_uid: int = Field(
        199_999, ge=1000, description="the user that builds of environments run as, where the worker is root"
    )
    kernel_uids: int = Field(65_536, ge=1, description="how many users there are for kernels")

    @field_validator("kernel_imports", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value
