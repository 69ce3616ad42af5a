"""Runs cases by the papermill command, each in a folder of the layout that runs have here."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import yaml
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from tests.parity.answers import Answer, answer
from tests.parity.corpus import Case

KERNEL_NAME = "parity"

TIMEOUT_S = 120.0
"""Longest time that papermill may take for a case, in seconds."""

ENDS: dict[str, tuple[type[Exception], ...]] = {
    "error": (PapermillExecutionError,),
    "DeadKernelError": (DeadKernelError,),
    "TimeoutError": (CellTimeoutError,),
}
"""How a notebook may end, by the errors that the command ends with then."""

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["papermill.cli"])


class Papermill:
    """The papermill command with the kernel of one Python environment; its files lie in `folder`."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder = folder
        spec = folder / "share" / "jupyter" / "kernels" / KERNEL_NAME
        spec.mkdir(parents=True)
        argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "parity", "language": "python"}))
        (folder / "matplotlib").mkdir()

    async def run(self, case: Case) -> Answer:
        """What papermill makes of a case; tried again where it failed for a reason of its own, which happens when two
        kernels choose the same port. Raises RuntimeError when it fails again."""
        try:
            return await self._run(case)
        except (RuntimeError, OSError):
            return await self._run(case)

    async def _run(self, case: Case) -> Answer:
        run_dir = self._folder / "runs" / case.id.replace("/", "-")
        shutil.rmtree(run_dir, ignore_errors=True)
        for name in ("work", "outputs", "home", "tmp"):
            (run_dir / name).mkdir(parents=True)
        nbformat.write(case.notebook(), run_dir / "in.ipynb")
        arguments = [str(run_dir / "in.ipynb"), str(run_dir / "out.ipynb"), "-k", KERNEL_NAME, "--no-progress-bar"]
        arguments += ["--cwd", str(run_dir / "work")]
        if case.parameters:
            text = yaml.safe_dump(case.parameters, allow_unicode=True, width=10**6)
            (run_dir / "parameters.yaml").write_text(text, encoding="utf-8")
            arguments += ["-f", str(run_dir / "parameters.yaml")]
        environment = {
            "ATELIER_RUN_DIR": str(run_dir),
            "HOME": str(run_dir / "home"),
            "JUPYTER_PATH": str(self._folder / "share" / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(run_dir / "home"),
            "MPLCONFIGDIR": str(self._folder / "matplotlib"),
            "SHELL": "/bin/bash",
            "TMPDIR": str(run_dir / "tmp"),
        }
        code = await asyncio.to_thread(_run, arguments, environment, run_dir / "log.txt")
        end = _end(code, (run_dir / "log.txt").read_text(encoding="utf-8", errors="replace"))
        notebook = nbformat.read(run_dir / "out.ipynb", as_version=4)
        files = {
            str(path.relative_to(run_dir / "outputs")): path.read_bytes()
            for path in (run_dir / "outputs").rglob("*")
            if path.is_file()
        }
        shutil.rmtree(run_dir)
        return answer(notebook, end, files, [_pattern(run_dir)])


def _pattern(run_dir: Path) -> str:
    return "|".join({str(run_dir), str(run_dir.resolve())}).replace(".", r"\.")


def _run(arguments: list[str], environment: Mapping[str, str], log: Path) -> int:
    """The exit code of the command, which runs in a process of its own."""
    process = _PROCESSES.Process(target=_command, args=(arguments, environment, log))
    process.start()
    process.join(TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode or 0


def _command(arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
    """What the console script `papermill` does."""
    from papermill.cli import papermill

    os.environ.update(environment)
    with log.open("wb") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["papermill", *arguments]
    papermill()


def _end(code: int, log: str) -> str:
    """How a notebook ended, by what papermill wrote. Raises RuntimeError for a failure of papermill's own."""
    if code == 0:
        return "ok"
    for name, errors in ENDS.items():
        if any(f"\n{error.__module__}.{error.__name__}" in log for error in errors):
            return name
    raise RuntimeError(log[-2000:])
