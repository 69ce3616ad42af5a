"""Which notebooks the base environment serves, by what is installed in it. Others are told what is missing."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from shared.contracts.notebooks import Environment

BUNDLED_LIBRARIES = frozenset({"process_mining_utils", "mindzie_sdk"})
"""Libraries that every kernel has (SPEC.md: Datasets and libraries)."""

_LIST = (
    "import importlib.metadata as m, json, platform; "
    "print(json.dumps([platform.python_version(), {d.metadata['Name']: d.version for d in m.distributions()}]))"
)


class EnvironmentBuildError(Exception):
    """The environment cannot be had; the message says which requirement and why."""


class BaseEnvironment:
    """The base environment of Python kernels: one interpreter and what is installed for it."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self._version = ""
        self._installed: dict[str, str] = {}

    async def open(self) -> None:
        """Ask the interpreter what it has; raises RuntimeError when it cannot be run."""
        try:
            process = await asyncio.create_subprocess_exec(
                str(self.python), "-I", "-c", _LIST, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
            )
        except OSError as error:
            raise RuntimeError(f"ATELIER_KERNEL_PYTHON ({self.python}) cannot be run: {error.strerror}") from error
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"ATELIER_KERNEL_PYTHON ({self.python}) ended with status {process.returncode}")
        self._version, installed = json.loads(output)
        self._installed = {canonicalize_name(name): version for name, version in installed.items()}
        if "ipykernel" not in self._installed:
            raise RuntimeError(f"ATELIER_KERNEL_PYTHON ({self.python}) has no ipykernel")

    async def close(self) -> None:
        """Nothing is held."""

    def check(self, wanted: Environment) -> None:
        """Raise EnvironmentBuildError unless the base environment satisfies `wanted`."""
        version = wanted.python_version
        if version and not self._version.startswith(".".join(version.split(".")[:2])):
            raise EnvironmentBuildError(f"Python {version} is not available here; available: {self._version}")
        missing = [text for text in wanted.packages if not self._has(text)]
        missing += [name for name in wanted.custom_libraries if name not in BUNDLED_LIBRARIES]
        if missing:
            raise EnvironmentBuildError(
                "The base environment does not have: " + ", ".join(missing) + ". Remove them from the notebook's "
                "environment or ask the operator to add them to the base environment."
            )

    def _has(self, text: str) -> bool:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise EnvironmentBuildError(f"{text!r} is not a valid requirement: {error}") from error
        if requirement.marker is not None and not requirement.marker.evaluate():
            return True
        installed = self._installed.get(canonicalize_name(requirement.name))
        return installed is not None and requirement.specifier.contains(installed, prereleases=True)
