"""Kernel sources and sessions for tests: real kernels of the base environment, driven cell by cell."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from services.executor.kernels.cells import CellRunner
from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.fork_options import ForkOptions
from services.executor.kernels.forked import ForkedKernels
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.isolation import Level
from services.executor.kernels.outcomes import CellOutcome
from services.executor.kernels.plain import PlainKernels, python_command
from services.executor.kernels.port import Kernel
from services.executor.running import folder
from tests.support.users import SOURCE_UIDS

KERNEL_PYTHON = Path(os.environ.get("ATELIER_TEST_KERNEL_PYTHON", ".venv-kernel/bin/python")).absolute()
"""The interpreter of base kernels; the variable names another one, with other releases of ipykernel and IPython."""

IMPORTS = ["numpy", "pandas", "matplotlib.pyplot", "matplotlib.backends.backend_agg"]
"""Enough to see that imports are shared, and quickly had."""

LIMITS = Limits(memory_bytes=1_000_000_000, processes=200, open_files=1024, file_bytes=100_000_000, cpu_seconds=60)


def plain_source() -> PlainKernels:
    return PlainKernels(
        {"python3": python_command(KERNEL_PYTHON)},
        python=KERNEL_PYTHON,
        lay_out=folder.lay_out,
        start_timeout_s=30,
    )


def forked_source(
    base: Path,
    *,
    pool_size: int = 0,
    minimum: Level = "none",
    without_layers: list[str] | None = None,
    imports: list[str] | None = None,
    limits: Limits = LIMITS,
    python: Path = KERNEL_PYTHON,
    commands: Mapping[str, KernelCommand] | None = None,
    pool_sizes: Mapping[str, int] | None = None,
    environment_spares: int = 0,
    start_timeout_s: float = 30,
) -> ForkedKernels:
    numbers = itertools.count()
    return ForkedKernels(
        ForkOptions(
            python=python,
            imports=IMPORTS if imports is None else imports,
            uids=SOURCE_UIDS,
            limits=limits,
            pool_size=pool_size,
            minimum=minimum,
            start_timeout_s=start_timeout_s,
            without_layers=without_layers or [],
            pool_sizes=pool_sizes or {},
            environment_spares=environment_spares,
        ),
        scratch=base / "kernels",
        new_folder=lambda: base / f"p{next(numbers)}",
        lay_out=folder.lay_out,
        fallback=plain_source(),
        commands=commands,
    )


@dataclass
class Session:
    """One kernel and the notebook that was last run in it."""

    kernel: Kernel
    progress: list[tuple[float, str]] = field(default_factory=list)

    @property
    def run_dir(self) -> Path:
        return self.kernel.run_dir

    async def run(self, *sources: str, cancel: asyncio.Event | None = None, timeout_s: float = 60) -> list[CellOutcome]:
        self.notebook = nbformat.from_dict(new_notebook(cells=[new_code_cell(source) for source in sources]))
        self.runner = runner = CellRunner(
            self.notebook,
            self.kernel,
            cancel=cancel or asyncio.Event(),
            on_progress=lambda fraction, message: self.progress.append((fraction, message)),
        )
        try:
            return [await runner.run(i, timeout_s=timeout_s, timeout_name="limit") for i in range(len(sources))]
        finally:
            runner.close()
            runner.catch_up()

    def text(self, index: int = 0) -> str:
        return "".join(output.get("text", "") for output in self.notebook.cells[index].outputs)

    async def says(self, code: str) -> str:
        """What one cell prints; fails the test when the cell fails."""
        (outcome,) = await self.run(code)
        assert outcome.status == "Success", (outcome.error_type, outcome.error_message, outcome.traceback)
        return self.text().strip()


def processes_named(name: str) -> list[int]:
    """Processes whose command line begins with `name`."""
    return [
        process.info["pid"]
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0] == name
    ]
