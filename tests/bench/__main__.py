"""Runs both sides in turn and prints medians and ratios as a table; writes them to bench.json as well."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import Stack
from tests.bench.notebooks import NOTEBOOKS
from tests.bench.peer import Papermill
from tests.support.api import Api

POLL_S = 0.005
"""How often the bench asks for the status, in seconds; clients may poll far less often."""


async def ours(api: Api, notebook_id: str) -> float:
    """Seconds from `POST execute` to `Completed` visible at the API."""
    began = time.perf_counter()
    execution = await api.start(notebook_id)
    path = f"notebook/{notebook_id}/execution/{execution['executionId']}"
    while True:
        _, status, _ = await api.get(path)
        if status["status"] != "Running":
            break
        await asyncio.sleep(POLL_S)
    seconds = time.perf_counter() - began
    if status["status"] != "Completed":
        raise RuntimeError(f"{status['errorType']}: {status['errorMessage']}")
    return seconds


async def measure(stack: Stack, folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Medians of both sides, interleaved, after one warm-up of each."""
    peer = Papermill(folder, Path(".venv-kernel/bin/python").absolute())
    found: dict[str, dict[str, float]] = {}
    async with aiohttp.ClientSession() as session:
        api = await Api.of(stack, session)
        for name, cells in NOTEBOOKS.items():
            notebook = await api.create(*cells)
            mine, theirs = [], []
            for turn in range(repeats + 1):
                here, there = await ours(api, notebook["notebookId"]), await peer.run(cells)
                if turn:
                    mine.append(here)
                    theirs.append(there)
            a, b = statistics.median(mine), statistics.median(theirs)
            found[name] = {"ours_s": round(a, 4), "papermill_s": round(b, 4), "ratio": round(b / a, 2)}
    return found


def main(
    repeats: int = typer.Option(7, help="counted runs of each side"),
    output: Path = typer.Option(Path("bench.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure this system against papermill on the same notebooks."""
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        with Stack(folder / "b", slots=2) as stack:
            found = asyncio.run(measure(stack, folder, repeats))
    table = Table("notebook", "ours, s", "papermill, s", "ratio")
    for row, figures in found.items():
        table.add_row(row, f"{figures['ours_s']:.3f}", f"{figures['papermill_s']:.3f}", f"{figures['ratio']:.1f}x")
    Console().print(table)
    output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
