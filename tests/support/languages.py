"""Kernels of R and Scala for tests: started plainly, in run folders as a worker lays them out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest

from deploy.local import languages as installed
from services.executor.kernels import languages
from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.plain import PlainKernels
from services.executor.running import folder, r_table
from tests.support.kernels import KERNEL_PYTHON

START_TIMEOUT_S = 240.0
"""On a busy machine Toree takes a minute and more, in seconds."""

MEMORY_MB = 2048


def command(kernel_type: str) -> KernelCommand:
    """How the kernel starts; without it tests are skipped on a developer's machine, and fail in CI."""
    found = installed.settings()
    try:
        if kernel_type == "r":
            return languages.r(Path(found["ATELIER_KERNEL_R"]))
        java = Path(found["ATELIER_KERNEL_JAVA"])
        return languages.scala(Path(found["ATELIER_KERNEL_SCALA"]), java, memory_mb=MEMORY_MB)
    except KeyError:
        if os.environ.get("CI") == "true":
            pytest.fail(f"there is no {kernel_type} kernel: make kernels")
        pytest.skip(f"there is no {kernel_type} kernel: make kernels")


def source(kernel_type: str) -> PlainKernels:
    return PlainKernels(
        {kernel_type: command(kernel_type)},
        python=KERNEL_PYTHON,
        lay_out=folder.lay_out,
        start_timeout_s=START_TIMEOUT_S,
    )


def fill(
    run_dir: Path, scratch: Path, *, parameters: dict[str, Any] | None = None, table: pa.Table | None = None
) -> None:
    """Tell a run folder what a run with this table would be."""
    description: dict[str, Any] = {"schemaVersion": 1, "parameters": parameters or {}, "dataset": None}
    files: list[Path] = []
    if table is not None:
        parquet, csv, columns = (scratch / name for name in ("d.parquet", "d.csv", "d.json"))
        pyarrow.parquet.write_table(table, parquet, compression="zstd")
        r_table.to_csv(parquet, csv, columns)
        files = [parquet, csv]
        described = [{"name": field.name, "type": _word(field.type)} for field in table.schema]
        description["dataset"] = {
            "path": "inputs/dataset.parquet",
            "columns": described,
            "csv": {"path": "inputs/dataset.csv", "columns": orjson.loads(columns.read_bytes())},
        }
    folder.fill(run_dir, description, files)


def _word(kind: pa.DataType) -> str:
    return "timestamp" if pa.types.is_timestamp(kind) else "string"


def records(run_dir: Path) -> list[dict[str, Any]]:
    """What has been saved, in order."""
    return [orjson.loads(path.read_bytes()) for path in sorted((run_dir / "outputs" / ".atelier").glob("*.json"))]
