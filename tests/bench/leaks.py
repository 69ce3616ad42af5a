"""What many executions leave behind: `python -m tests.bench.leaks`, 1,000 in a row and 200 at once after a warm-up.

Fails when a process, folder, socket, control group or file is left, or memory of a process grows by 5 % or more.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import Stack
from tests.support.api import Api
from tests.support.leftovers import FORK_SERVER
from tests.support.soaking import Snapshot, Soak, lost

SLOTS = 4

GROWTH = 0.05
"""Of the executor's memory after the warm-up (issue: the executor's memory grows by less than 5 %)."""

OF_EXECUTOR = ("control", "worker", FORK_SERVER)


async def measure(stack: Stack, *, warm_up: int, sequential: int, concurrent: int) -> tuple[Snapshot, Snapshot]:
    """What was there after the warm-up, and at the end."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        soak = Soak(stack, await Api.of(stack, session), slots=SLOTS)
        await soak.run(sequential=warm_up, concurrent=min(warm_up, concurrent))
        before = await soak.settle()
        await soak.run(sequential=sequential, concurrent=concurrent)
        return before, await soak.settle()


def faults(before: Snapshot, after: Snapshot) -> list[str]:
    """What has grown that should not."""
    grown = [
        f"{name} has grown from {before.memory[name] / 1e6:.0f} to {after.memory[name] / 1e6:.0f} MB"
        for name in OF_EXECUTOR
        if after.memory[name] > before.memory[name] * (1 + GROWTH)
    ]
    return [*lost(before, after), *grown]


def show(before: Snapshot, after: Snapshot) -> Table:
    """Both side by side."""
    table = Table("what", "after the warm-up", "at the end")
    for name, count in asdict(before.traces).items():
        table.add_row(name, str(count), str(asdict(after.traces)[name]))
    table.add_row("files in the worker's folder", str(before.work_files), str(after.work_files))
    for name, count in before.descriptors.items():
        table.add_row(f"descriptors of {name}", str(count), str(after.descriptors[name]))
    for name, count in before.sockets.items():
        table.add_row(f"local sockets of {name}", str(count), str(after.sockets[name]))
    for name, size in before.memory.items():
        now = after.memory[name]
        table.add_row(f"memory of {name}", f"{size / 1e6:.1f} MB", f"{now / 1e6:.1f} MB ({now / size - 1:+.1%})")
    return table


def main(
    sequential: int = typer.Option(1000, help="executions one after the other"),
    concurrent: int = typer.Option(200, help="executions accepted at once"),
    warm_up: int = typer.Option(100, help="executions before the first look"),
    output: Path = typer.Option(Path("leaks.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Run many executions and look what they leave behind."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        with Stack(folder / "l", slots=SLOTS) as stack:
            before, after = asyncio.run(measure(stack, warm_up=warm_up, sequential=sequential, concurrent=concurrent))
    Console().print(show(before, after))
    output.write_text(json.dumps({"before": asdict(before), "after": asdict(after)}, indent=1) + "\n")
    for fault in (found := faults(before, after)):
        print(f"LEAK: {fault}")
    print(
        f"{sequential} + {concurrent} executions, {time.monotonic() - began:.0f} s: {'leaks' if found else 'no leak'}"
    )
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    typer.run(main)
