"""Promises in seconds, measured: cancelling in each phase; a second preparation of an extra package; the end of all
kernels with their worker; a neighbour's time beside hogs, and beside each input of the abuse suite.
`python -m tests.bench.promises` prints them beside their bars, and fails where one is not met.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import Stack, languages
from tests.bench import abuse, cancelling, neighbours
from tests.bench.promise import Promise, promise
from tests.support import vanishing
from tests.support.api import Api
from tests.support.runs import address
from tests.support.standstill import environment_to_hold_up, uv_without_end

PREPARED_S = 0.2
"""How long the second preparation of an environment may take, in seconds."""

GONE_S = 1.0
"""How long after its worker's a kernel's end may come, in seconds."""

PATIENCE_S = 30.0
"""When a kernel that outlives its worker is given up, in seconds."""

GROUPS = ("cancel", "prepare", "vanish", "neighbour", "abuse")


async def second_preparation(api: Api, repeats: int) -> Promise:
    """Of an environment with a package that the base one has not; the first one, which builds it, does not count."""
    notebook = await api.create("print(1)", environment={"packages": [vanishing.EXTRA_PACKAGE]})

    async def prepare() -> float:
        ended = await api.run(notebook["notebookId"])
        code, environment, _ = await api.get(f"{address(ended)}/environment")
        if code != 200 or environment["source"] != "built":
            raise RuntimeError(f"no environment was built: {ended['errorMessage']}")
        return float(environment["preparationSeconds"])

    await prepare()
    return await promise("second preparation of a package", prepare, repeats, bar=PREPARED_S)


async def end_with_their_worker(stack: Stack, api: Api, repeats: int, kinds: list[str]) -> Promise:
    """All processes of kernels of every kind, after a SIGKILL to the worker alone."""

    async def kill() -> float:
        runs, processes = await vanishing.at_work(stack, api, ["forked", "environment", *kinds])
        seconds = await vanishing.kill_worker(stack, processes, within_s=PATIENCE_S)
        await asyncio.to_thread(stack.worker.start)
        for run in runs:
            await cancelling.cancelling(api, run)
        return seconds

    return await promise("all kernels gone with their worker", kill, repeats, bar=GONE_S)


async def measure(folder: Path, repeats: int, groups: list[str], kinds: list[str]) -> list[Promise]:
    """All rows, on two stacks one after the other."""
    found: list[Promise] = []
    async with aiohttp.ClientSession() as session:
        with Stack(folder / "p", slots=cancelling.SLOTS) as stack:
            api, other = await Api.of(stack, session), await Api.of(stack, session)
            if "neighbour" in groups:
                found += await neighbours.beside_hogs(api, other, repeats)
            if "prepare" in groups:
                found.append(await second_preparation(api, repeats))
            if "cancel" in groups:
                found += await cancelling.cancellations(stack, api, repeats, kinds)
            if "abuse" in groups:
                found += await abuse.beside_inputs(stack)
            if "vanish" in groups:
                found.append(await end_with_their_worker(stack, api, repeats, kinds))
        if "cancel" in groups:
            settings, hold = environment_to_hold_up(folder)
            own = {"worker": settings | {"ATELIER_UV": str(uv_without_end(folder))}}
            with Stack(folder / "q", slots=cancelling.SLOTS, service_env=own) as stack:
                found += await cancelling.standing_still(hold, await Api.of(stack, session), repeats)
    return found


def main(
    groups: list[str] = typer.Argument(None, help=f"what is measured: {', '.join(GROUPS)}; all where none is named"),  # noqa: B008 - typer's way
    repeats: int = typer.Option(5, help="how often each is measured"),
    output: Path = typer.Option(Path("promises.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure promises in seconds; each row shows the worst repeat, a run beside a hog the median."""
    there = {"r": "ATELIER_KERNEL_R", "scala": "ATELIER_KERNEL_SCALA"}
    kinds = [kind for kind, setting in there.items() if setting in languages.settings()]
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        found = asyncio.run(measure(folder, repeats, groups or list(GROUPS), kinds))
    table = Table("promise", "measured", "bar", "verdict")
    for row in found:
        verdict = "met" if row.met else "NOT MET"
        measured = row.fault or f"{row.figure:.2f} {row.unit}"
        bar = f"≤ {row.bar:g} {row.unit}" if row.bar is not None else ""
        table.add_row(row.name, measured, bar, verdict if bar or row.fault else "")
    Console().print(table)
    for kind in there.keys() - kinds:
        print(f"not measured: there is no {kind} kernel (make kernels)")
    output.write_text(json.dumps([asdict(row) | {"met": row.met} for row in found], indent=1) + "\n")
    raise typer.Exit(0 if all(row.met for row in found) else 1)


if __name__ == "__main__":
    typer.run(main)
