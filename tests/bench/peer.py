"""The peer: papermill's command, with the same base environment as our kernels."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

KERNEL_NAME = "atelier-bench"


class Papermill:
    """Runs notebooks by the papermill command, one process each."""

    def __init__(self, folder: Path, kernel_python: Path) -> None:
        self._folder = folder
        spec = folder / "share" / "jupyter" / "kernels" / KERNEL_NAME
        spec.mkdir(parents=True)
        argv = [str(kernel_python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "bench", "language": "python"}))
        self._numbers = itertools.count(1)
        self._environment = {**os.environ, "JUPYTER_PATH": str(folder / "share" / "jupyter")}

    async def run(self, cells: list[str]) -> float:
        """Seconds from the command's start to its end."""
        number = next(self._numbers)
        source, target = self._folder / f"{number}-in.ipynb", self._folder / f"{number}-out.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), source)
        command = [str(Path(sys.executable).parent / "papermill"), str(source), str(target), "-k", KERNEL_NAME]
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, env=self._environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            raise RuntimeError(errors.decode()[-2000:])
        return seconds

    async def many(self, cells: list[str], runs: int, *, at_a_time: int) -> float:
        """Seconds for so many runs, `at_a_time` side by side."""
        left = iter(range(runs))

        async def work() -> None:
            for _ in left:
                await self.run(cells)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_a_time)))
        return time.perf_counter() - began
