"""What a Python interpreter is and has: the base environment of kernels, and others that stand on the PATH."""

from __future__ import annotations

import asyncio
import os
import re
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
from packaging.utils import canonicalize_name

from services.executor.environments.rules import SDK, EnvironmentBuildError

_PROGRAM = re.compile(r"^python3\.\d+$")

_ASK = f"""
import sys
without = set(sys.path)
import site
site.main()
import importlib.metadata as m, json, platform
try:
    sdk = m.distribution("{SDK}")
except m.PackageNotFoundError:
    sdk = None
print(json.dumps({{
    "version": platform.python_version(),
    "installed": {{d.metadata["Name"]: d.version for d in m.distributions()}},
    "folders": [p for p in sys.path if p not in without],
    "prefixes": sorted(set([sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix])),
    "sdk": sdk and {{
        "folder": str(sdk.locate_file("")),
        "names": sorted({{f.parts[0] for f in sdk.files or [] if f.parts[0] != ".." and not str(f).endswith(".pth")}}),
        "requires": sdk.requires or [],
    }},
}}))
"""
"""Asked of an interpreter started without `site`, to tell its own folders from those that packages are in."""


@dataclass(frozen=True, kw_only=True)
class SdkFiles:
    """Where the SDK is installed: `names` in `folder`; and what it needs, as requirements."""

    folder: Path
    names: list[str]
    requires: list[str]


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python interpreter; `folders` hold its packages, `installed` maps their normal names to versions, below
    `prefixes` lie the interpreter itself and its library."""

    python: Path
    version: str
    installed: dict[str, str]
    folders: list[str]
    sdk: SdkFiles | None
    prefixes: list[str] = field(default_factory=list)

    @property
    def readable(self) -> tuple[Path, ...]:
        """What has to be readable for its programs to run; a link is found by where it leads to."""
        own = () if self.python.is_symlink() else (self.python,)
        return tuple(Path(path) for path in (*own, *self.prefixes, *self.folders))

    def to_json(self) -> dict[str, Any]:
        """Return it as another process of the worker is told of it."""
        return {
            **asdict(self),
            "python": str(self.python),
            "sdk": self.sdk and asdict(self.sdk) | {"folder": str(self.sdk.folder)},
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """Return what `to_json` was made of."""
        sdk = told["sdk"]
        files = SdkFiles(**(sdk | {"folder": Path(sdk["folder"])})) if sdk else None
        return cls(**(told | {"python": Path(told["python"]), "sdk": files}))

    @property
    def minor(self) -> str:
        """`3.11` of `3.11.2`."""
        return minor(self.version)

    @property
    def markers(self) -> dict[str, str]:
        """What environment markers are judged by; the rest is the worker's own system."""
        return {"python_version": self.minor, "python_full_version": self.version}


def minor(version: str) -> str:
    """The first two numbers of a version."""
    return ".".join(version.split(".")[:2])


async def ask(python: Path) -> Interpreter:
    """What an interpreter tells of itself; raises OSError or ValueError when it cannot be run."""
    process = await asyncio.create_subprocess_exec(
        str(python), "-I", "-S", "-c", _ASK, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise ValueError(f"it ended with status {process.returncode}")
    told = orjson.loads(output)
    sdk = told["sdk"]
    return Interpreter(
        python=python,
        version=told["version"],
        installed={canonicalize_name(name): version for name, version in told["installed"].items() if name},
        folders=told["folders"],
        prefixes=told["prefixes"],
        sdk=sdk and SdkFiles(folder=Path(sdk["folder"]), names=sdk["names"], requires=sdk["requires"]),
    )


class BaseEnvironment:
    """The base environment of Python kernels: one interpreter and what is installed for it."""

    def __init__(self, python: Path, told: Interpreter | None = None) -> None:
        self.python = python
        self._told = told

    async def open(self) -> None:
        """Ask the interpreter what it has, unless that was told; raises RuntimeError when it cannot be run."""
        if self._told is not None:
            return
        try:
            self._told = await ask(self.python)
        except OSError as error:
            raise RuntimeError(f"ATELIER_KERNEL_PYTHON ({self.python}) cannot be run: {error.strerror}") from error
        except ValueError as error:
            raise RuntimeError(f"ATELIER_KERNEL_PYTHON ({self.python}) is of no use: {error}") from error
        if "ipykernel" not in self._told.installed:
            raise RuntimeError(f"ATELIER_KERNEL_PYTHON ({self.python}) has no ipykernel")

    async def close(self) -> None:
        """Nothing is held."""

    @property
    def interpreter(self) -> Interpreter:
        """What it is and has."""
        assert self._told is not None  # noqa: S101 - told by open()
        return self._told

    async def interpreter_for(self, version: str | None) -> Interpreter:
        """The interpreter of that version: its first two numbers decide, the base environment's comes first, then
        `python3.X` on the PATH. Raises EnvironmentBuildError, with those that there are."""
        base = self.interpreter
        if not version or base.minor == minor(version) or version == base.version.split(".", maxsplit=1)[0]:
            return base
        others = await asyncio.to_thread(_on_path)
        program = others.get(minor(version))
        try:
            if program is not None:
                return await ask(program.resolve())
        except (OSError, ValueError):
            del others[minor(version)]
        numbers = {base.minor, *others}
        available = ", ".join(sorted(numbers, key=lambda number: int(number.split(".")[1])))
        raise EnvironmentBuildError(f"Python {version} is not available here; available: {available}")


def _on_path() -> dict[str, Path]:
    """The interpreters on the PATH by their first two numbers."""
    found: dict[str, Path] = {}
    for folder in os.get_exec_path():
        try:
            names = sorted(entry.name for entry in os.scandir(folder))
        except OSError:
            continue  # the PATH often names folders that are not there
        for name in names:
            path = Path(folder, name)
            if _PROGRAM.match(name) and os.access(path, os.X_OK):
                found.setdefault(name.removeprefix("python"), path)
    return found
