"""Kernels of the oldest and the newest releases that the base environment allows, and a worker with the oldest: the
parts of ipykernel, IPython and nbclient that are replaced here change. The locked ones are what all other tests run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BASE = Path("deploy/kernels/base/pyproject.toml")

OF_THE_KERNEL = (
    "ipykernel", "ipython", "ipywidgets", "jupyter-client", "matplotlib", "numpy", "orjson", "pandas", "pip", "pyzmq",
    "scikit-learn", "tornado", "traitlets",
)  # fmt: skip
"""Of the base environment's packages, those that make a kernel, and what the tests import."""

OF_THE_WORKER = ("jupyter-client", "nbclient", "nbformat")
"""Of the worker's packages, those that speak with kernels."""

MODULES = ("test_notebook_code.py", "test_shutdown.py", "test_kernels.py")


def requirements() -> list[str]:
    """As the base environment states them."""
    stated: list[str] = tomllib.loads(BASE.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {line: line.split(">")[0] for line in stated}
    assert set(OF_THE_KERNEL) <= set(names.values())
    return [line for line, name in names.items() if name in OF_THE_KERNEL]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_kernels_of_other_releases_behave_as_the_locked_ones(resolution: str, tmp_path: Path) -> None:
    tools = Path(sys.executable).parent
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([tools / "uv", "venv", "-q", "--python", sys.executable, python.parent.parent], check=True)
    install: list[str | Path] = [tools / "uv", "pip", "install", "-q", "--python", python, "--resolution", resolution]
    subprocess.run([*install, *requirements(), "nest-asyncio2"], check=True)
    run_modules(Path(sys.executable), os.environ | {"ATELIER_TEST_KERNEL_PYTHON": str(python)})


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_worker_with_the_oldest_releases_behaves_as_with_the_locked_ones(tmp_path: Path) -> None:
    stated: list[str] = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    floors = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in stated]
    oldest = [f"{found[1]}=={found[2]}" for found in floors if found is not None and found[1] in OF_THE_WORKER]
    assert len(oldest) == len(OF_THE_WORKER)
    uv, environment = Path(sys.executable).parent / "uv", tmp_path / "environment"
    locked = os.environ | {"UV_PROJECT_ENVIRONMENT": str(environment)}
    subprocess.run([uv, "sync", "-q", "--frozen"], env=locked, check=True)
    python = environment / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, *oldest], check=True)
    run_modules(python, dict(os.environ))


def run_modules(python: Path, environment: dict[str, str]) -> None:
    """Run the tests of kernels by another interpreter, or in another environment."""
    here = Path(__file__).parent
    result = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(here / name for name in MODULES)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:]
