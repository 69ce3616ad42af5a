"""Results of a run with 5,000 outputs: `python -m tests.bench.outputs`.

The outputs are of several types, on both sides of the size up to which artifacts are kept in rows; a model lies beside
them. Measured is what `GET results` and its zip take of the services' memory, above what they had, and how fast the zip
comes: against the model by its link, and against a plain read of the object store's own files, all from the disk. What
the disk itself gives, past the system's memory, is printed too.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import typer
from rich.console import Console

from deploy.local import Stack
from tests.bench.data import download
from tests.bench.rows import Row, table
from tests.support.api import Api
from tests.support.runs import address

CELLS = 10
SERVICES = ("gateway", "artifacts")
RUN_S = 1_800.0

GROWTH_BAR_MB = 100.0
"""What answering may take above what the process had, in MB: some pages and pieces, whatever the run's size."""

ZIP_BAR, LARGE_BAR = 0.1, 0.05
"""How fast the zip comes at least, as part of the speed of a plain read: of all, and of a large file. A read passes no
process; the zip passes the store's, artifacts and the gateway, each of which copies every byte more than once."""

MANY_BAR, LINK_BAR = 0.6, 0.8
"""The same, as part of the speed of a large file by its link, which passes the same processes: of all, and of that file
in a zip."""

CELL = """
import base64, os
def text(size):
    return base64.b64encode(os.urandom(size * 3 // 4)).decode()
def png(size):
    return base64.b64encode(b"\\x89PNG\\r\\n\\x1a\\n" + os.urandom(size - 8)).decode()
FORMS = [
    lambda size: {{"text/plain": text(size)}},
    lambda size: {{"text/html": f"<pre>{{text(size)}}</pre>", "text/plain": "x"}},
    lambda size: {{"application/json": {{"text": text(size)}}, "text/plain": "x"}},
    lambda size: {{"image/png": png(size), "text/plain": "x"}},
]
SIZES = [4_000, 16_000, 32_000, 34_000, 80_000]
for number in range({count}):
    display(FORMS[number % 4](SIZES[number % 5]), raw=True)
"""
MODEL = """
import os
from mindzie_sdk import ProcessMiningClient
ProcessMiningClient().save_model(os.urandom({size}), name="large")
"""

PEER = """
import mmap, os, sys, time
paths = sys.stdin.read().splitlines()
for path in paths:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
if sys.argv[1] == "read":
    began = time.perf_counter()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    print(time.perf_counter() - began)
if sys.argv[1] == "direct":
    piece = mmap.mmap(-1, 1 << 20)
    began = time.perf_counter()
    for path in paths:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
        while os.readv(file, [piece]):
            pass
        os.close(file)
    print(time.perf_counter() - began)
"""


@contextmanager
def growth(stack: Stack, found: dict[str, float]) -> Iterator[None]:
    """How far the peak memory of each service rises above what it has now while this goes on, in MB."""
    pids = {name: stack[name].pid for name in SERVICES}
    for pid in pids.values():
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak so far
    before = {name: _memory_mb(pid, "VmRSS") for name, pid in pids.items()}
    yield
    for name, pid in pids.items():
        found[name] = max(found.get(name, 0.0), _memory_mb(pid, "VmHWM") - before[name])


def _memory_mb(pid: int | None, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e6


async def produce(api: Api, outputs: int, model_bytes: int) -> dict[str, Any]:
    """The run whose results are asked for."""
    cells = [CELL.format(count=outputs // CELLS)] * CELLS
    notebook = await api.create(*cells, MODEL.format(size=model_bytes))
    execution = await api.start(notebook["notebookId"], {"timeout": int(RUN_S)})
    ended = await api.wait(notebook["notebookId"], execution["executionId"], RUN_S)
    if ended["status"] != "Completed":
        raise RuntimeError(f"{ended['status']}: {ended['errorMessage']}")
    return ended


async def fetch(api: Api, run: dict[str, Any], target: Path, **params: str) -> float:
    """Seconds to get the results, as they are asked for, into a file."""
    url = api.url(f"{address(run)}/results")
    began = time.perf_counter()
    async with api.session.get(url, params=params, headers=api.headers) as answer:
        answer.raise_for_status()
        with target.open("wb") as file:
            async for piece in answer.content.iter_chunked(1 << 20):
                file.write(piece)
    return time.perf_counter() - began


def stored_files(stack: Stack, run: dict[str, Any]) -> list[Path]:
    """The object store's files of the run, largest first."""
    found = [path for path in stack.folder.data("s3").rglob(f"*/{run['executionId']}/*/*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def plain(paths: list[Path], order: str) -> float:
    """Have files read: `read` from the disk as any program does, `direct` by the disk alone, without the system reading
    ahead; `forget` only takes them out of the system's memory. Returns the seconds."""
    names = "\n".join(map(str, paths))
    done = subprocess.run([sys.executable, "-c", PEER, order], input=names, check=True, capture_output=True, text=True)
    return float(done.stdout or 0)


async def zip_row(
    api: Api, run: dict[str, Any], files: list[Path], target: Path, *, repeats: int, name: str, bar: float, wanted: str
) -> Row:
    """The zip against a plain read of the files that its contents are stored in, each from the disk."""
    ours, theirs = [], []
    for _ in range(repeats):
        await asyncio.to_thread(plain, files, "forget")
        ours.append(await fetch(api, run, target, format="download", outputType=wanted))
        theirs.append(await asyncio.to_thread(plain, files, "read"))
    megabytes = await asyncio.to_thread(_unpacked_mb, target)
    read = sum(path.stat().st_size for path in files) / 1e6
    return _speeds(name, (megabytes, ours), (read, theirs), bar)


async def link_row(
    api: Api, run: dict[str, Any], files: list[Path], target: Path, *, repeats: int, name: str, bar: float, wanted: str
) -> Row:
    """The zip against the model by its link, each from the disk."""
    ours, theirs, megabytes = [], [], 0.0
    (model,) = (await api.results(run, outputType="models", format="summary"))["models"]
    for _ in range(repeats):
        await asyncio.to_thread(plain, files, "forget")
        ours.append(await fetch(api, run, target, format="download", outputType=wanted))
        megabytes = await asyncio.to_thread(_unpacked_mb, target)
        await asyncio.to_thread(plain, files, "forget")
        theirs.append(await download(api, model["downloadUrl"], target))
    return _speeds(name, (megabytes, ours), (model["sizeBytes"] / 1e6, theirs), bar)


def disk_row(files: list[Path], repeats: int) -> Row:
    """What the disk gives to a plain read, against what it gives past the system: no promise, but a measure."""
    plainly = [plain(files, "read") for _ in range(repeats)]
    directly = [plain(files, "direct") for _ in range(repeats)]
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    name = "the disk: plain reads against direct ones, 1 MiB at a time"
    return _speeds(name, (megabytes, plainly), (megabytes, directly), 0.0)


def _unpacked_mb(target: Path) -> float:
    with zipfile.ZipFile(target) as archive:
        if (broken := archive.testzip()) is not None:
            raise RuntimeError(f"{broken} in the zip is broken")
        return sum(info.file_size for info in archive.infolist()) / 1e6


def _speeds(name: str, mine: tuple[float, list[float]], peer: tuple[float, list[float]], bar: float) -> Row:
    """The fastest of each, in MB a second: what else the machine does only slows them down."""
    (ours, our_s), (theirs, their_s) = mine, peer
    return Row(
        name=name,
        ours=f"{ours:.0f} MB, {ours / min(our_s):.0f} MB/s",
        theirs=f"{theirs:.0f} MB, {theirs / min(their_s):.0f} MB/s",
        figure=(ours / min(our_s)) / (theirs / min(their_s)),
        unit="x",
        bar=bar,
        details={"ours_s": [round(s, 3) for s in our_s], "theirs_s": [round(s, 3) for s in their_s]},
    )


async def measure(stack: Stack, folder: Path, outputs: int, model_bytes: int, repeats: int) -> list[Row]:
    """Every row of the table."""
    rows: list[Row] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RUN_S)) as session:
        api = await Api.of(stack, session)
        run = await produce(api, outputs, model_bytes)
        files = await asyncio.to_thread(stored_files, stack, run)
        grown: dict[str, dict[str, float]] = {"detailed": {}, "summary": {}, "download": {}}
        for form in ("detailed", "summary"):
            target = folder / f"{form}.json"
            with growth(stack, grown[form]):
                seconds = await fetch(api, run, target, format=form)
            found = len(json.loads(target.read_bytes())["outputs"])
            if found != outputs:
                raise RuntimeError(f"the {form} results list {found} outputs")
            size = target.stat().st_size / 1e6
            speed = f"{size:.0f} MB in {seconds:.1f} s"
            name = f"outputs in {form} results"
            rows.append(Row(name=name, ours=speed, theirs="-", figure=found, unit="", bar=outputs))
        with growth(stack, grown["download"]):
            target, name = folder / "results.zip", f"zip of {outputs:,} outputs and the model"
            rows.append(await zip_row(api, run, files, target, repeats=repeats, name=name, bar=ZIP_BAR, wanted="all"))
            name = "zip of the model alone"
            rows.append(
                await zip_row(api, run, files[:1], target, repeats=repeats, name=name, bar=LARGE_BAR, wanted="models")
            )
            name = f"zip of {outputs:,} outputs and the model, against the model by its link"
            rows.append(await link_row(api, run, files, target, repeats=repeats, name=name, bar=MANY_BAR, wanted="all"))
            name = "zip of the model, against its link"
            rows.append(
                await link_row(api, run, files[:1], target, repeats=repeats, name=name, bar=LINK_BAR, wanted="models")
            )
        rows.append(await asyncio.to_thread(disk_row, files[:1], repeats))
    rows += [
        Row(
            name=f"memory that {form} takes: {name}",
            ours="",
            theirs="-",
            figure=figure,
            unit=" MB",
            bar=GROWTH_BAR_MB,
            at_most=True,
        )
        for form, of_form in grown.items()
        for name, figure in of_form.items()
    ]
    return rows


def main(
    outputs: int = typer.Option(5_000, help="outputs of the run, a multiple of 10"),
    model_mb: int = typer.Option(400, help="size of the model beside them, in MB"),
    repeats: int = typer.Option(3, help="counted times of each side"),
    output: Path = typer.Option(Path("bench-outputs.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure results and zip of a run with many outputs against the object store's own files."""
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        with Stack(folder / "b", slots=1) as stack:
            found = asyncio.run(measure(stack, folder, outputs, model_mb * 1_000_000, repeats))
    Console().print(table(found, peer="plain read"))
    print(f"load average {load_average:.1f} at the start; a busy machine blurs every figure")
    figures = {row.name: row.answer() for row in found}
    output.write_text(
        json.dumps({"outputs": outputs, "loadAtStart": load_average, "figures": figures}, indent=1) + "\n"
    )


if __name__ == "__main__":
    typer.run(main)
