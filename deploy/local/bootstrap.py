"""Prepares the virtual environments, from nothing but Python: pip's own for uv, `.venv` and `.venv-kernel` by uv.

Uses the standard library alone. What is up to date is recognised by a digest and left alone, in well under a second.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV = "uv==0.13.9"  # pinned: what it writes and reads (uv.lock) changes between versions
STAMP = "atelier.stamp"  # inside the environment, so that it goes with it

COMMON = ("uv.lock", "pyproject.toml", "sdk/pyproject.toml", "deploy/kernels/base/pyproject.toml")
OTHER_LANGUAGES = ("sdk/r/", "sdk/scala/")  # not in the wheel
UNWANTED = (
    "PYTHONDONTWRITEBYTECODE",  # without .pyc files `import pandas` takes 2.1 s instead of 0.6 s
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
)


def main() -> int:
    """Brings all environments up to date; returns the exit code."""
    state = ROOT / ".atelier"
    state.mkdir(exist_ok=True)
    with (state / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two commands in one checkout must not write the same environment
        try:
            uv = prepare_uv(state / "bootstrap")
            project = digest(COMMON)
            sync(uv, ROOT / ".venv", project, "the services and the tests", [])
            kernel = digest([*COMMON, *(path for path in sources("sdk") if not path.startswith(OTHER_LANGUAGES))])
            # --no-editable: a kernel imports the SDK as an installed wheel, and never reads the checkout.
            # --reinstall-package: uv would take its cached wheel, although the SDK's sources have changed.
            options = ["--package", "atelier-base-kernel", "--no-editable", "--reinstall-package", "mindzie-sdk"]
            sync(uv, ROOT / ".venv-kernel", kernel, "notebook kernels", options)
        except subprocess.CalledProcessError as error:
            print(f"error: '{' '.join(map(str, error.cmd))}' failed with exit code {error.returncode}", file=sys.stderr)
            return 1
    return 0


def prepare_uv(folder: Path) -> Path:
    """A virtual environment that holds the pinned uv; returns the program's path."""
    program = folder / "bin/uv"
    wanted = hashlib.sha256(UV.encode()).hexdigest()
    if program.exists() and is_current(folder, wanted):
        return program
    began = time.monotonic()
    # Debian keeps venv in a package of its own; debian.py installs it, or says how.
    subprocess.run([sys.executable, "-I", str(ROOT / "deploy/local/debian.py"), "venv"], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV]
    subprocess.run(pip, check=True)
    (folder / STAMP).write_text(wanted)
    print(f"installed {UV} ({time.monotonic() - began:.1f} s)", flush=True)
    return program


def sync(uv: Path, environment: Path, wanted: str, purpose: str, options: list[str]) -> None:
    """Makes an environment hold exactly what uv.lock says, unless its digest says that it does already."""
    if is_current(environment, wanted):
        return
    began = time.monotonic()
    print(f"installing what {purpose} need into {environment.name} ...", flush=True)
    (environment / STAMP).unlink(missing_ok=True)
    env = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    env |= {
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "UV_COMPILE_BYTECODE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    interpreter = [] if (environment / "bin/python").exists() else ["--python", sys.executable]
    command = [str(uv), "sync", "--frozen", "--quiet", "--directory", str(ROOT), *interpreter, *options]
    subprocess.run(command, env=env, check=True)
    (environment / STAMP).write_text(wanted)
    print(f"installed {environment.name} ({time.monotonic() - began:.1f} s)", flush=True)


def is_current(environment: Path, wanted: str) -> bool:
    """Whether an environment was completed from the same input, and its interpreter is still there."""
    try:
        return (environment / STAMP).read_text() == wanted and (environment / "bin/python").exists()
    except OSError:
        return False


def digest(paths: Iterable[str]) -> str:
    """A digest of files of the checkout, names included."""
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
        total.update(f"{path} {content}\n".encode())
    return total.hexdigest()


def sources(folder: str) -> list[str]:
    """The files a wheel is built from."""
    found = (ROOT / folder).rglob("*")
    return sorted(str(path.relative_to(ROOT)) for path in found if path.is_file() and "__pycache__" not in path.parts)


if __name__ == "__main__":
    sys.exit(main())
