"""Kernels of the oldest and the newest releases that the base environment allows: the parts of ipykernel and IPython
that are replaced here change from one to the next. The locked releases are what all other tests run."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BASE = Path("deploy/kernels/base/pyproject.toml")

OF_THE_KERNEL = (
    "ipykernel", "ipython", "ipywidgets", "jupyter-client", "matplotlib", "numpy", "orjson", "pandas", "pip", "pyzmq",
    "tornado", "traitlets",
)  # fmt: skip
"""Of the base environment's packages, those that make a kernel, and what the tests import."""

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
    here = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(here / name for name in MODULES)],
        env=os.environ | {"ATELIER_TEST_KERNEL_PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:]
