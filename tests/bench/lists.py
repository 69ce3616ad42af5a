"""Lists at scale: the same calls among a thousand notebooks and among a million; `python -m tests.bench.lists`.

Both databases are on one server, and the calls take turns, so that the machine is the same for both. What is measured
is the catalog's own answer: statement, rows, page. The bus and HTTP around it would only make the ratio smaller. The
figure is processor time, of the database's process and of this one: these calls wait for nothing, everything they read
is in memory, and other programs on the machine change it little.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import Stack
from services.catalog import handlers, listing
from shared import migrations
from shared.contracts.base import Caller, Scope
from shared.contracts.notebooks import ListNotebooks
from tests.bench.million import COMMON_WORD, RARE_WORD, TENANT, Sizes, fill

SMALL = Sizes(1_000, 1, 1_000)
LARGE = Sizes(1_000_000, 200, 100_000)

LIMIT = 1.5
"""How much slower a call may be among a million notebooks (DESIGN.md: Speed targets)."""

CALLS: dict[str, dict[str, Any]] = {
    "first page": {},
    "first page of 100": {"page_size": 100},
    "page 500": {"page": 500, "page_size": 2},
    "by cursor, far in": {"cursor": "…", "page_size": 20},
    "status": {"status": "Error"},
    "a rare status": {"status": "Running"},
    "kernelType": {"kernel_type": "r"},
    "enrichmentMode": {"enrichment_mode": True},
    "three filters": {"status": "Ready", "kernel_type": "r", "enrichment_mode": False},
    "search": {"search": RARE_WORD},
    "search and filter": {"search": RARE_WORD, "enrichment_mode": False},
    "search without a match": {"search": "no such name"},
    "sort by change": {"sort": "-dateModified"},
    "sort by name": {"sort": "notebookName"},
    "sort by last run": {"sort": "-lastExecutionDate"},
    "sort by last run, filtered": {"sort": "-lastExecutionDate", "kernel_type": "scala"},
}
"""What a list may be asked for. They match as many notebooks, or the same share, in either."""

LINEAR: dict[str, dict[str, Any]] = {
    "search for what half of the names have": {"search": COMMON_WORD},
    "page 500 of 100 (the large project alone has it)": {"page": 500, "page_size": 100},
}
"""Calls whose work grows with what they match; measured, and no promise. A search's matches are counted exactly."""


@dataclass
class Sides:
    """Processor seconds of one call against each database."""

    small: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)  # a project of the usual size among a million
    largest: list[float] = field(default_factory=list)  # the one of 100,000


async def measure(stack: Stack, repeats: int) -> dict[str, dict[str, Any]]:
    """Every call in milliseconds, with the ratios against the small database."""
    connections = {}
    for name, sizes in (("small", SMALL), ("large", LARGE)):
        dsn = await _database(stack, name)
        seconds = await fill(dsn, sizes, contents=False)
        Console().print(f"{sizes.notebooks:,} notebooks made in {seconds:.0f} s")
        connections[name] = await asyncpg.connect(dsn, server_settings={"search_path": "catalog"})
    places = {"small": ("small", 1), "usual": ("large", 100), "largest": ("large", 1)}
    found = {}
    for call, members in {**CALLS, **LINEAR}.items():
        sides = Sides()
        for turn in range(repeats + 5):  # asyncpg and the server plan the first few anew
            for side, (database, project) in places.items():
                seconds = await _time(connections[database], UUID(int=project), members)
                if turn >= 5:
                    getattr(sides, side).append(seconds)
        small, usual, largest = (statistics.median(side) for side in (sides.small, sides.usual, sides.largest))
        found[call] = {
            "small_ms": round(small * 1e3, 3),
            "usual_ms": round(usual * 1e3, 3),
            "largest_ms": round(largest * 1e3, 3),
            "ratio": round(usual / small, 2),
            "ratio_largest": round(largest / small, 2),
            "promised": call in CALLS,
        }
    for connection in connections.values():
        await connection.close()
    return found


_cursors: dict[tuple[asyncpg.Connection, UUID], str | None] = {}


async def _time(connection: asyncpg.Connection, project: UUID, members: dict[str, Any]) -> float:
    command = ListNotebooks(
        scope=Scope(tenant_id=TENANT, project_id=project), caller=Caller(subject="bench"), **members
    )
    if command.cursor is not None:
        place = (connection, project)
        if place not in _cursors:
            far = await listing.page(connection, command.model_copy(update={"cursor": None, "page": 25}))
            _cursors[place] = far.next_cursor
        command = command.model_copy(update={"cursor": _cursors[place]})
    server = Path(f"/proc/{connection.get_server_pid()}/schedstat")
    began = time.process_time_ns() + int(server.read_text().split()[0])
    await listing.page(connection, command)
    return (time.process_time_ns() + int(server.read_text().split()[0]) - began) / 1e9


async def _database(stack: Stack, name: str) -> str:
    """A migrated catalog in a database of its own."""
    owner = await asyncpg.connect(stack.postgres.dsn)
    await owner.execute(f"CREATE DATABASE {name}")
    await owner.close()
    address = stack.postgres.dsn.rpartition("/")[0] + f"/{name}"
    role = f"postgresql://bench_{name}:bench@{address.partition('@')[2]}"
    folder = Path(handlers.__file__).parent / "migrations"
    await migrations.migrate(address, [migrations.Schema(name="catalog", folder=folder, dsn=role)])
    return address


def table_of(found: dict[str, dict[str, Any]]) -> Table:
    """The figures for people."""
    table = Table("call", "1,000, ms", "of 1,000,000, ms", "ratio", "project of 100,000, ms", "ratio")
    for call, row in found.items():
        over = row["promised"] and max(row["ratio"], row["ratio_largest"]) > LIMIT
        name = f"[red]{call}[/red]" if over else call if row["promised"] else f"[dim]{call}[/dim]"
        table.add_row(
            name,
            f"{row['small_ms']:.2f}",
            f"{row['usual_ms']:.2f}",
            f"{row['ratio']:.2f}x",
            f"{row['largest_ms']:.2f}",
            f"{row['ratio_largest']:.2f}x",
        )
    return table


def run(repeats: int) -> dict[str, dict[str, Any]]:
    """Measure on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        stack = Stack(folder / "l")
        stack.end_with_this_process()
        try:
            stack.up(only=["postgres"])
            return asyncio.run(measure(stack, repeats))
        finally:
            stack.delete()


def main(
    repeats: int = typer.Option(51, help="counted repetitions of each call"),
    output: Path = typer.Option(Path("bench-lists.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure lists among a thousand notebooks and among a million."""
    found = run(repeats)
    Console().print(table_of(found))
    output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
