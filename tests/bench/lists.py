"""Lists at scale: the same calls among a thousand notebooks and among a million; `python -m tests.bench.lists`.

Each is measured twice. Over HTTP, against two whole stacks that take turns, it is what a client waits for. Inside the
catalog (statements, rows, page) it is processor time, of the database's process and of this one: other programs on the
machine change that little, and neither bus nor HTTP hides what a list costs.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import Stack
from services.catalog import listing
from services.catalog.searches import Searches
from shared.contracts.base import Caller, Scope
from shared.contracts.notebooks import ListNotebooks
from tests.bench.list_calls import CALLS, FIRST_SEARCHES, LIMIT, LINEAR, Members, query_of
from tests.bench.million import TENANT, Sizes, fill
from tests.support.api import Api
from tests.support.keys import make_project

SIZES = {"small": Sizes(1_000, 1, 1_000), "large": Sizes(1_000_000, 200, 100_000)}
"""What the two stacks hold."""

SIDES = {"small": ("small", UUID(int=1)), "usual": ("large", UUID(int=100)), "largest": ("large", UUID(int=1))}
"""Where each call is asked: the thousand, a project of the usual size among the million, and that of 100,000."""

WARM_UP = 6
"""The first answers do not count: asyncpg and the server plan them anew, and a search is counted."""

Figures = dict[str, dict[str, Any]]
Ask = Callable[[str, UUID, Members], Awaitable[float]]
"""Asks one stack for one project's list; the seconds it took."""


class Direct:
    """The catalog's own answers, in processor seconds."""

    def __init__(self, connections: dict[str, asyncpg.Connection]) -> None:
        self._connections = connections
        self._cursors: dict[tuple[str, UUID], str | None] = {}
        self._searches = Searches()

    async def ask(self, stack: str, project: UUID, members: Members) -> float:
        """See Ask."""
        connection = self._connections[stack]
        command = ListNotebooks(
            scope=Scope(tenant_id=TENANT, project_id=project), caller=Caller(subject="bench"), **members
        )
        if command.cursor is not None:
            if (stack, project) not in self._cursors:
                far = command.model_copy(update={"cursor": None, "page": 25})
                self._cursors[stack, project] = (await listing.page(connection, far, self._searches)).next_cursor
            command = command.model_copy(update={"cursor": self._cursors[stack, project]})
        server = Path(f"/proc/{connection.get_server_pid()}/schedstat")
        began = time.process_time_ns() + int(server.read_text().split()[0])
        await listing.page(connection, command, self._searches)
        return (time.process_time_ns() + int(server.read_text().split()[0]) - began) / 1e9

    async def ask_first(self, stack: str, project: UUID, members: Members) -> float:
        """As `ask`, of a replica that has never seen the search."""
        self._searches = Searches()
        return await self.ask(stack, project, members)


class OverHttp:
    """A client's view, in seconds on the clock."""

    def __init__(self, apis: dict[str, Api]) -> None:
        self._apis = apis
        self._cursors: dict[tuple[str, UUID], str] = {}

    async def ask(self, stack: str, project: UUID, members: Members) -> float:
        """See Ask."""
        query = query_of(members)
        if "cursor" in query:
            if (stack, project) not in self._cursors:
                far = await self._page(stack, project, {**query, "page": "25"} | {"cursor": ""})
                self._cursors[stack, project] = far["nextCursor"]
            query["cursor"] = self._cursors[stack, project]
        began = time.perf_counter()
        await self._page(stack, project, query)
        return time.perf_counter() - began

    async def _page(self, stack: str, project: UUID, query: dict[str, str]) -> dict[str, Any]:
        status, page, _ = await self._apis[stack].get(f"/api/{TENANT}/{project}/notebooks", params=query)
        assert status == 200, page
        return dict(page)


async def compare(calls: dict[str, Members], ask: Ask, repeats: int, *, promised: bool) -> Figures:
    """Every call in milliseconds, with the ratios against the small side."""
    found = {}
    for call, members in calls.items():
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(repeats + WARM_UP):
            for side, (stack, project) in SIDES.items():
                took = await ask(stack, project, members)
                if turn >= WARM_UP:
                    seconds[side].append(took)
        small, usual, largest = (statistics.median(seconds[side]) for side in SIDES)
        found[call] = {
            "small_ms": round(small * 1e3, 3),
            "usual_ms": round(usual * 1e3, 3),
            "largest_ms": round(largest * 1e3, 3),
            "ratio": round(usual / small, 2),
            "ratio_largest": round(largest / small, 2),
            "promised": promised,
        }
    return found


async def measure(stacks: dict[str, Stack], repeats: int) -> dict[str, Figures]:
    """The figures of both views."""
    for name, stack in stacks.items():
        seconds = await fill(stack.postgres.dsn, SIZES[name], contents=False)
        Console().print(f"{SIZES[name].notebooks:,} notebooks made in {seconds:.0f} s")
    async with aiohttp.ClientSession() as session:
        apis, connections = {}, {}
        for name, stack in stacks.items():
            key = await asyncio.to_thread(
                stack.create_key, tenant=str(TENANT), project=None, role="viewer", name="bench"
            )
            await make_project(stack, tenant=str(TENANT), project=str(UUID(int=1)))
            apis[name] = Api(stack.url, session, tenant=str(TENANT), project=str(UUID(int=1)), key=key)
            connections[name] = await asyncpg.connect(stack.postgres.dsn, server_settings={"search_path": "catalog"})
        over_http, direct = OverHttp(apis), Direct(connections)
        found = {
            "over HTTP": await compare(CALLS, over_http.ask, repeats, promised=True)
            | await compare(LINEAR, over_http.ask, repeats, promised=False),
            "in the catalog": await compare(CALLS, direct.ask, repeats, promised=True)
            | await compare(LINEAR, direct.ask, repeats, promised=False)
            | await compare(FIRST_SEARCHES, direct.ask_first, repeats, promised=False),
        }
        for connection in connections.values():
            await connection.close()
    return found


def table_of(view: str, found: Figures) -> Table:
    """The figures for people."""
    table = Table(view, "1,000, ms", "of 1,000,000, ms", "ratio", "project of 100,000, ms", "ratio")
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


def run(repeats: int) -> dict[str, Figures]:
    """Measure on stacks of their own."""
    with tempfile.TemporaryDirectory(prefix="atelier-") as name, ExitStack() as opened:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        stacks = {side: opened.enter_context(Stack(folder / side[0])) for side in SIZES}
        return asyncio.run(measure(stacks, repeats))


def main(
    repeats: int = typer.Option(51, help="counted repetitions of each call"),
    output: Path = typer.Option(Path("bench-lists.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure lists among a thousand notebooks and among a million."""
    found = run(repeats)
    for view, figures in found.items():
        Console().print(table_of(view, figures))
    output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
