"""Runs both sides in turn and prints every figure with its bar and verdict; writes them to bench.json as well."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path

import aiohttp
import typer
from rich.console import Console

from deploy.local import Stack
from tests.bench import cells, latency, rate
from tests.bench.peer import Papermill
from tests.bench.rows import Measure, Row, Sides, table
from tests.support.api import Api

MEASURES: dict[str, Measure] = {"cells": cells.rows, "rate": rate.rows, "latency": latency.rows}
"""Every group of rows, in the order they are measured."""


async def measure(stack: Stack, folder: Path, wanted: list[str], *, repeats: int, runs: int, peer: int) -> list[Row]:
    """The wanted groups of rows."""
    papermill = Papermill(folder, Path(".venv-kernel/bin/python").absolute())
    async with aiohttp.ClientSession() as session:
        api = await Api.of(stack, session)
        sides = Sides(stack=stack, api=api, peer=papermill, repeats=repeats, runs=runs, peer_runs=peer)
        return [row for name in wanted for row in await MEASURES[name](sides)]


def main(
    only: list[str] = typer.Argument(None, help="groups to measure; all where none is given"),  # noqa: B008
    repeats: int = typer.Option(7, help="counted runs of each side, for each notebook"),
    runs: int = typer.Option(500, help="executions whose rate is measured"),
    peer_runs: int = typer.Option(40, help="papermill's runs whose rate is measured"),
    output: Path = typer.Option(Path("bench.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure this system against papermill on the same notebooks."""
    wanted = only or list(MEASURES)
    unknown = set(wanted) - set(MEASURES)
    if unknown:
        raise typer.BadParameter(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        with Stack(folder / "b") as stack:
            rows = asyncio.run(measure(stack, folder, wanted, repeats=repeats, runs=runs, peer=peer_runs))
    Console().print(table(rows))
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, load average {load:.1f} at the start; a busy machine blurs every figure")
    figures = {row.name: row.answer() for row in rows}
    output.write_text(json.dumps({"cores": cores, "loadAtStart": load, "rows": figures}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
