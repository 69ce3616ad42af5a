"""Brings parts of a stack to a standstill, so that a run stays in a phase: a frozen component, kernels held up, a build
without end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.component import Component
from deploy.local.services import KERNEL_PYTHON

HOLDING = "atelier_holding"
"""The module that holds up forked kernels; the worker is told to import it before it forks them."""

HOLDING_SOURCE = """
import os, sys, time
forks = 0
def wait():
    global forks
    forks += 1  # the first of the server is the kernel, others are the kernel's own
    while forks == 1 and os.path.exists(sys.prefix + "/hold"):
        time.sleep(0.02)
os.register_at_fork(after_in_child=wait)
"""

NEVER_READY = "never_ready"
"""The library whose environment's interpreter never gets to its kernel, and what its process calls itself instead."""

SLEEP = f"'/bin/sleep', ['{NEVER_READY}', '600']"

SLOW_UV = "#!/bin/sh\nsleep 4242 &\nwait\n"


@contextmanager
def frozen(component: Component) -> Iterator[None]:
    """The component stands still meanwhile."""
    pid = component.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def interpreter_to_hold_up(folder: Path) -> tuple[Path, Path]:
    """An interpreter for kernels, and the file for as long as which exists they do not start."""
    hold, python = folder / "hold", folder / "python"
    # It refuses to be a fork server (`-c`), so kernels are started plainly, one by one, which can be held up.
    refuse = '[ "$1" != "-c" ] || exit 1'
    wait = f"while [ -e {hold} ]; do sleep 0.05; done"
    python.write_text(f'#!/bin/sh\n{refuse}\n{wait}\nexec {KERNEL_PYTHON} "$@"\n')
    python.chmod(0o755)
    return python, hold


def environment_to_hold_up(folder: Path) -> tuple[dict[str, str], Path]:
    """Settings of a worker whose forked kernels do not start as long as a file exists, and that file. None is made
    before it is asked for."""
    environment = folder / "held"
    subprocess.run([KERNEL_PYTHON, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (base,) = Path(KERNEL_PYTHON).parent.parent.glob("lib/python3*/site-packages")
    (packages / "base.pth").write_text(f"{base}\n")
    (packages / f"{HOLDING}.py").write_text(HOLDING_SOURCE)
    settings = {
        "ATELIER_KERNEL_PYTHON": str(environment / "bin/python"),
        "ATELIER_KERNEL_IMPORTS": HOLDING,
        "ATELIER_KERNEL_POOL_SIZE": "0",
        "ATELIER_KERNEL_POOL_ENVIRONMENTS": "0",
    }
    return settings, environment / "hold"


def uv_without_end(folder: Path) -> Path:
    """A program in uv's place that never comes to an end, and has a child."""
    uv = folder / "uv"
    uv.write_text(SLOW_UV)
    uv.chmod(0o755)
    return uv


def library_never_ready() -> tuple[str, bytes]:
    """A wheel, its file's name and content: the interpreter of an environment that has it hangs in its first line."""
    info = f"{NEVER_READY}-1.0.dist-info"
    files = {
        f"{NEVER_READY}.py": f"import os\nif 'ATELIER_RUN_DIR' in os.environ: os.execv({SLEEP})\n",
        f"{NEVER_READY}.pth": f"import {NEVER_READY}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NEVER_READY}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return f"{NEVER_READY}-1.0-py3-none-any.whl", buffer.getvalue()
