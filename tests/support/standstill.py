"""Brings parts of a stack to a standstill, so that a run stays in a phase: a frozen component, kernels held up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.component import Component
from deploy.local.services import KERNEL_PYTHON


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
