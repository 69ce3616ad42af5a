"""Secrets of the worker: none stays in its environment, and other processes of its user cannot look into its memory.

Kernels without a user of their own (isolation `confined`) have the worker's.
"""

from __future__ import annotations

import os

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from services.executor.kernels.forkserver import system
from services.executor.settings import WorkerSettings
from shared.settings import ObjectStoreSettings

OTHERS = ("ATELIER_S3_ACCESS_KEY", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
"""Variables that say who the worker is, and are no secrets by their type."""


def hide() -> None:
    """Let no process without privilege read this one's memory and environment (`/proc/<pid>/mem`, `environ`), trace it,
    or get its core. What it executes is open again (prctl(2), PR_SET_DUMPABLE)."""
    system.prctl(system.PR_SET_DUMPABLE, 0)


def forget() -> None:
    """Remove every secret from the environment, which started programs inherit: all settings have been read."""
    for name in (*_variables(WorkerSettings), *_variables(ObjectStoreSettings), *OTHERS):
        os.environ.pop(name, None)


def _variables(settings: type[BaseSettings]) -> list[str]:
    prefix = settings.model_config["env_prefix"]
    return [
        f"{prefix}{name}".upper()
        for name, field in settings.model_fields.items()
        if field.annotation in (SecretStr, SecretStr | None)
    ]
