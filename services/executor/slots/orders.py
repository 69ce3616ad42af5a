"""What the supervisor tells each process of its worker at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from services.executor.environments.base import Interpreter
from services.executor.kernels.fork_options import ForkOptions
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.settings import WorkerSettings
from services.executor.store import MEGABYTE
from shared.settings import ObjectStoreSettings


def order(
    settings: WorkerSettings,
    objects: ObjectStoreSettings,
    base: Interpreter,
    *,
    work_dir: Path,
    folder: Path,
    fonts: Path,
    tracing: dict[str, str],
) -> dict[str, Any]:
    """Return what every process is told at its start, as JSON. `tracing` are variables for the exporter of spans."""
    return {
        "settings": _revealed(settings),
        "objects": _revealed(objects),
        "workDir": str(work_dir),
        "folder": str(folder),
        "fonts": str(fonts),
        "base": base.to_json(),
        "tracing": tracing,
    }


def _revealed(settings: BaseSettings) -> dict[str, Any]:
    """Settings as JSON, secrets included: they go over a socket pair, to a process of the same worker."""
    found = settings.model_dump(mode="json")
    secrets = {name: value.get_secret_value() for name, value in settings if isinstance(value, SecretStr)}
    return found | secrets


def fork_options(settings: WorkerSettings, *, pool_size: int) -> ForkOptions:
    """Return how this worker's kernels are forked and kept ready, `pool_size` of the base environment in a process."""
    return ForkOptions(
        python=settings.kernel_python,
        imports=list(settings.kernel_imports),
        uids=(settings.kernel_first_uid, settings.kernel_uids),
        limits=Limits(
            memory_bytes=settings.kernel_memory_mb * MEGABYTE,
            processes=settings.kernel_processes,
            file_bytes=settings.kernel_file_mb * MEGABYTE,
            open_files=settings.kernel_open_files,
            cpu_seconds=settings.kernel_cpu_seconds,
            processors=settings.kernel_processors,
        ),
        pool_size=pool_size,
        pool_sizes={"r": settings.kernel_pool_r, "scala": settings.kernel_pool_scala},
        environment_spares=settings.kernel_pool_environments,
        minimum=settings.isolation_minimum,
        start_timeout_s=settings.kernel_start_timeout,
    )
