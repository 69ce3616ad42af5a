"""R and Scala kernels started cold, against nbclient with the same kernels on the same machine:

    python -m tests.bench.languages

Both sides in turn: from the wish for a kernel until its one cell has ended and the kernel is gone. Ours starts inside
the sandbox, with nothing in its pool; nbclient starts IRkernel by its own command and Toree by its `run.sh`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import typer
from rich.console import Console

from deploy.local import languages as installed
from services.executor.kernels import languages
from services.executor.kernels.commands import KernelCommand
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.port import KernelRequest
from tests.bench.rows import Row, table
from tests.support import nbclients as peers
from tests.support.kernels import Session, forked_source

CELLS = {"r": "cat(sum(1:10), '\\n')", "scala": "println((1 to 10).sum)"}

BAR = 1.1
"""How many times nbclient's time a cold start may take at most."""

TRIES = 3
"""How often nbclient is asked again when it has lost the output."""

GRACE_S = 2.0
"""How long a kernel may take to end by itself, in seconds: as in a run."""

LIMITS = Limits(memory_bytes=4_000_000_000, processes=300, open_files=4096)


def commands() -> dict[str, KernelCommand]:
    """How our kernels start."""
    found = installed.settings()
    java, environment = Path(found["ATELIER_KERNEL_JAVA"]), Path(found["ATELIER_KERNEL_SCALA"])
    return {
        "r": languages.r(Path(found["ATELIER_KERNEL_R"])),
        "scala": languages.scala(environment, java, memory_mb=3072),
    }


async def nbclients(kernel_type: str, folder: Path) -> tuple[float, float]:
    """Seconds of nbclient, and processor seconds of its kernel. Toree loses its first output now and then under
    nbclient, which subscribes when the kernel runs already: such a run counts for nothing."""
    for _ in range(TRIES):
        began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        notebook = await peers.run(kernel_type, [CELLS[kernel_type]], folder)
        seconds, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if notebook.cells[0]["outputs"]:
            break
    _check(notebook.cells[0])
    return seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


async def ours(kernel_type: str, folder: Path, command: KernelCommand) -> tuple[float, float]:
    """Seconds of ours, with nothing in the pool, and processor seconds of its kernel."""
    kernels = forked_source(
        folder, imports=[], limits=LIMITS, commands={kernel_type: command}, minimum="strong", start_timeout_s=600
    )
    await kernels.open()
    try:
        await kernels.check()
        began = time.perf_counter()
        kernel = await kernels.acquire(KernelRequest(kernel_type=kernel_type, run_dir=folder / "run"))
        try:
            session = Session(kernel)
            await session.run(CELLS[kernel_type], timeout_s=600)
            await kernel.shut_down(GRACE_S)
        finally:
            await kernel.close()
        seconds = time.perf_counter() - began
        _check(session.notebook.cells[0])
        usage = kernel.usage()
        return seconds, usage.cpu_seconds if usage is not None else math.nan
    finally:
        await kernels.close()


def _check(cell: dict[str, object]) -> None:
    if "55" not in str(cell["outputs"]):
        raise RuntimeError(f"the cell has put out {cell['outputs']}")


async def measure(folder: Path, wanted: list[str], repeats: int) -> list[Row]:
    """A row for each language."""
    peers.write_specs(folder / "jupyter")
    found, numbers = [], itertools.count()
    for kernel_type in wanted:
        command = commands()[kernel_type]
        mine, theirs = [], []
        for _ in range(repeats):
            place = folder / str(next(numbers))
            place.mkdir()
            mine.append(await ours(kernel_type, place, command))
            theirs.append(await nbclients(kernel_type, place))
            print(
                f"{kernel_type}: {mine[-1][0]:.2f} s ({mine[-1][1]:.2f} s of processors), "
                f"nbclient {theirs[-1][0]:.2f} s ({theirs[-1][1]:.2f} s)",
                file=sys.stderr,
            )
        middle, other = (statistics.median(seconds for seconds, _ in side) for side in (mine, theirs))
        found.append(
            Row(
                name=f"{kernel_type}, cold",
                ours=f"{middle:.2f} s",
                theirs=f"{other:.2f} s",
                figure=middle / other,
                unit=" times",
                bar=BAR,
                at_most=True,
                details={"ours": mine, "theirs": theirs},
            )
        )
    return found


def main(
    only: list[str] = typer.Argument(None, help="r, scala; both where none is given"),  # noqa: B008
    repeats: int = typer.Option(5, help="runs of each side"),
) -> None:
    """Measure cold starts against nbclient; fails where the bar is not met."""
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        rows = asyncio.run(measure(folder, only or list(CELLS), repeats))
    Console().print(table(rows, peer="nbclient"))
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    typer.run(main)
