"""The run folder: the contract between worker and kernel (run.json, inputs/, outputs/, work/), gone after the run."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from uuid import UUID, uuid4

import orjson
import structlog

from shared.contracts.datasets import PinnedDataset
from shared.contracts.notebooks import PinnedNotebook

log = structlog.get_logger(__name__)

SCHEMA_VERSION = 1
"""Version of the run folder's contract with the SDKs."""

MAX_SOCKET_PATH = 107
"""Longest path of a unix socket on Linux (unix(7)), in bytes."""

MARK = "a-"
"""Begins the name of a link to a kernel's folder that lies elsewhere."""

SUBFOLDERS = ("inputs", "outputs", "outputs/.atelier", "work", "home", "home/matplotlib", "home/ipython", "tmp", "k")
"""`k` holds the kernel's sockets; what a run's own user may write, `forkserver.view.WRITABLE` tells."""


class WorkerFolder:
    """The folder of one worker process; those of dead workers are removed when a worker starts."""

    def __init__(self, work_dir: Path) -> None:
        self._runs = work_dir / "runs"
        self.path = self._runs / uuid4().hex[:8]
        self._lock: IO[bytes] | None = None

    async def open(self) -> None:
        """Make the folder, and clear away what killed workers left."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Remove the folder."""
        await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def _open(self) -> None:
        self.path.mkdir(parents=True, mode=0o700)
        longest = self.path / "1234" / "12345678" / "k" / "s-5"
        if len(os.fsencode(longest)) > MAX_SOCKET_PATH:
            raise ValueError(
                f"ATELIER_WORK_DIR is too long for unix sockets: {longest} has over {MAX_SOCKET_PATH} bytes"
            )
        self._lock = (self.path / "lock").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for other in self._runs.iterdir():
            if other != self.path and _abandoned(other):
                log.info("removing a dead worker's folder", folder=other.name)
                shutil.rmtree(other, ignore_errors=True)


class SlotFolder:
    """The folder of one of a worker's processes, within the worker's own: kernels' folders, named shortly, because
    sockets lie in them. Kernels that were started elsewhere are marked in it, so that their folders go with it."""

    def __init__(self, worker: Path, number: int) -> None:
        self.path = worker / f"{number:x}"
        self._spares = itertools.count(1)

    async def open(self) -> None:
        """Make the folder."""
        await asyncio.to_thread(self.path.mkdir, mode=0o700)

    async def close(self) -> None:
        """Remove it with all that it stands for."""
        await asyncio.to_thread(self.remove)

    def run_folder(self) -> Path:
        """Where a run's files go."""
        while (path := self.path / uuid4().hex[:8]).exists():
            continue
        return path

    def spare_folder(self) -> Path:
        """Where a kernel's files go that is made before its run."""
        return self.path / f"p{next(self._spares):07x}"

    def mark(self, run_dir: Path) -> None:
        """Note that a kernel's folder outside this one belongs here from now on."""
        (self.path / f"{MARK}{run_dir.name}").symlink_to(run_dir)

    def forget_removed(self) -> None:
        """Remove the marks of folders that are gone."""
        for mark in self.path.glob(f"{MARK}*"):
            if not mark.exists():
                mark.unlink(missing_ok=True)

    def marked(self) -> set[Path]:
        """Return the folders that are marked."""
        return {mark.readlink() for mark in self.path.glob(f"{MARK}*")}

    def remove(self) -> None:
        """Remove the folder, and those that are marked in it."""
        for folder in (*self.marked(), self.path):
            remove(folder)


class PoolsFolder:
    """Where the process that keeps kernels ready puts their folders: beside the slots' folders, for a kernel that a
    slot has taken outlives that process."""

    def __init__(self, worker: Path, number: int) -> None:
        self._worker = worker
        self._prefix = f"p{number:x}x"
        self._spares = itertools.count(1)

    async def open(self) -> None:
        """Nothing: the worker's folder is there."""

    async def close(self) -> None:
        """Nothing: the supervisor removes what is left."""

    def spare_folder(self) -> Path:
        """Where a kernel's files go that is made before its run."""
        return self._worker / f"{self._prefix}{next(self._spares):x}"

    def remove(self, *, taken: set[Path]) -> None:
        """Remove the folders of kernels that no slot has taken."""
        for folder in self._worker.glob(f"{self._prefix}*"):
            if folder not in taken:
                remove(folder)


def _abandoned(folder: Path) -> bool:
    """Whether no living process holds the folder's lock."""
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def describe(
    execution_id: UUID,
    project_id: UUID,
    notebook: PinnedNotebook,
    dataset: PinnedDataset | None,
    parameters: dict[str, Any],
    csv_columns: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """What run.json tells the SDK. `csv_columns` where the dataset is laid as CSV, too (see `r_table`)."""
    described = None
    if dataset is not None:
        described = {
            **dataset.dataset.model_dump(
                mode="json",
                by_alias=True,
                include={
                    "dataset_id",
                    "dataset_name",
                    "version",
                    "record_count",
                    "case_count",
                    "columns",
                    "case_id_column",
                    "activity_column",
                    "time_column",
                },
            ),
            "path": "inputs/dataset.parquet",
        }
        if csv_columns is not None:
            described["csv"] = {"path": "inputs/dataset.csv", "columns": csv_columns}
    return {
        "schemaVersion": SCHEMA_VERSION,
        "executionId": str(execution_id),
        "notebookId": str(notebook.notebook_id),
        "notebookVersion": notebook.version,
        "projectId": str(project_id),
        "parameters": parameters,
        "enrichmentMode": notebook.integration.enrichment_mode,
        "outputFormat": notebook.integration.output_format,
        "dataset": described,
    }


def lay_out(path: Path, font_cache: Path | None = None) -> None:
    """Make a run folder, all but what only its run knows. Others than the owner reach it through a kernel's view alone:
    the worker's folder around it lets nobody in."""
    path.mkdir(mode=0o755)
    for name in SUBFOLDERS:
        (path / name).mkdir()
    if font_cache is not None:
        for file in font_cache.glob("*.json"):
            shutil.copyfile(file, path / "home" / "matplotlib" / file.name)


def fill(path: Path, description: dict[str, Any], dataset_files: Sequence[Path]) -> None:
    """Tell a run folder what its run is. A bound dataset enters as read-only hard links, or copies across file
    systems, one for each form that it has."""
    run_json = path / "run.json"
    run_json.write_bytes(orjson.dumps(description, option=orjson.OPT_INDENT_2))
    run_json.chmod(0o444)
    for file in dataset_files:
        target = path / "inputs" / f"dataset{file.suffix}"
        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)
            target.chmod(0o444)


def remove(path: Path) -> None:
    """Remove a run folder, whatever its kernel has made of it: folders nested without end, folders nobody may enter."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        # These two go down without holding a descriptor or a frame a level.
        for command in (("chmod", "-R", "u+rwX"), ("rm", "-rf", "--one-file-system")):
            subprocess.run([*command, "--", path], check=False, capture_output=True)
        if path.exists():
            log.error("a run folder could not be removed", folder=str(path))
