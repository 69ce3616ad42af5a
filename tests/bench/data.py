"""The speed and memory targets for data: `python -m tests.bench.data` (`--rows 300000`: a quick look).

A generated event log is uploaded as CSV until it is ready, against pyarrow reading the same file and writing Parquet;
loaded in a kernel, against `pandas.read_parquet` in another; enriched, saved, and downloaded in both forms, which are
compared with the log and with each other value by value. The peak memory of each service is what the operating system
noted (VmHWM).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import typer
from rich.console import Console

from deploy.local import Stack
from tests.bench.big_logs import TAX, compare, generate
from tests.bench.rows import Row, table
from tests.support.api import Api

UPLOAD_BAR, LOAD_BAR, MEMORY_BAR_MB = 1.5, 1.2, 400.0
"""How many times its peer's time each may take, and what a service may have in memory (DESIGN.md: Speed targets)."""

SERVICES = ("gateway", "catalog", "control", "worker", "artifacts")
RUN_S = 3_600.0
"""A run of the full size may take long, in seconds."""

BYTES_A_ROW, BYTES_A_ROW_AND_UPLOAD = 300, 30
"""What a row takes of the disk, in bytes: as CSV, in spools, in the run's folder, as both forms of the enriched copy,
stored and downloaded; and for each upload once more as Parquet."""

KERNEL_MEMORY_MB = 12_000
"""Two tables of ten million rows at once, in MB."""

PEER = """
import sys, time, pyarrow.csv, pyarrow.parquet
began = time.perf_counter()
pyarrow.parquet.write_table(pyarrow.csv.read_csv(sys.argv[1]), sys.argv[2], compression="zstd")
print(time.perf_counter() - began)
"""

LOADING = """
import os, time, pandas
from mindzie_sdk import ProcessMiningClient
client = ProcessMiningClient()
path = os.path.join(os.environ["ATELIER_RUN_DIR"], "inputs", "dataset.parquet")
began = time.perf_counter()
log = {call}
seconds = time.perf_counter() - began
print(seconds, len(log))
"""
CALLS = {"ours": "client.load_dataset()", "theirs": "pandas.read_parquet(path)"}

ENRICHING = f"""
from mindzie_sdk import ProcessMiningClient
client = ProcessMiningClient()
log = client.load_dataset()
log["cost_with_tax"] = log["cost"] * {TAX}
client.save_enriched_dataset(log, name="enriched")
"""


def peer_upload(log: Path, target: Path) -> float:
    """Seconds that pyarrow takes, with all its threads, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PEER, log, target], check=True, capture_output=True, text=True)
    return float(done.stdout)


@contextmanager
def peaks(stack: Stack) -> Iterator[dict[str, float]]:
    """Peak resident memory of each service while this goes on, in MB; of the children of artifacts as `profile`."""
    pids = {name: stack[name].pid for name in SERVICES}
    for pid in pids.values():
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the peak so far
    found: dict[str, float] = {}
    ended = threading.Event()
    watching = threading.Thread(target=_watch_children, args=(pids["artifacts"], ended, found))
    watching.start()
    try:
        yield found
    finally:
        ended.set()
        watching.join()
        for name, pid in pids.items():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found[name] = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def _watch_children(pid: int | None, ended: threading.Event, found: dict[str, float]) -> None:
    while not ended.wait(0.1):
        try:
            sizes = [child.memory_info().rss / 1e6 for child in psutil.Process(pid).children()]
        except psutil.NoSuchProcess:
            continue
        found["profile"] = max([found.get("profile", 0.0), *sizes])


def require_room(folder: Path, rows: int, repeats: int) -> None:
    """Say what the measurement takes of the disk; end it before it begins where that is not there."""
    needed = rows * (BYTES_A_ROW + repeats * BYTES_A_ROW_AND_UPLOAD) / 1e9
    free = shutil.disk_usage(folder).free / 1e9
    print(f"{rows:,} rows take up to {needed:.1f} GB in {folder}, which has {free:.1f} GB left")
    if free < needed:
        raise SystemExit("there is no room for that; choose fewer rows")


async def upload(api: Api, log: Path) -> tuple[float, dict[str, Any]]:
    """Seconds from the first byte to the answer, which says that the dataset is ready."""
    began = time.perf_counter()
    dataset = await api.upload_dataset(log)
    return time.perf_counter() - began, dataset


async def run(api: Api, dataset: dict[str, Any], source: str) -> dict[str, Any]:
    """The results of a run on the dataset."""
    integration = {"datasetBinding": dataset["datasetId"], "enrichmentMode": "save_enriched" in source}
    notebook = await api.create(source, integration=integration)
    execution = await api.start(notebook["notebookId"], {"timeout": int(RUN_S)})
    ended = await api.wait(notebook["notebookId"], execution["executionId"], RUN_S)
    if ended["status"] != "Completed":
        raise RuntimeError(f"{ended['status']}: {ended['errorMessage']}")
    return await api.results(ended)


async def load(api: Api, dataset: dict[str, Any], side: str) -> float:
    """Seconds that one way of loading takes, in a kernel of its own."""
    results = await run(api, dataset, LOADING.format(call=CALLS[side]))
    text = next(output["content"] for output in results["outputs"] if output["outputType"] == "stream")
    seconds, count = str(text).split()
    if int(count) != dataset["recordCount"]:
        raise RuntimeError(f"{count} rows were loaded")
    return float(seconds)


async def download(api: Api, url: str, path: Path) -> float:
    """Seconds to fetch a link to a file."""
    began = time.perf_counter()
    async with api.session.get(url, timeout=aiohttp.ClientTimeout(total=RUN_S)) as answer:
        answer.raise_for_status()
        with path.open("wb") as file:
            async for piece in answer.content.iter_chunked(1 << 20):
                file.write(piece)
    return time.perf_counter() - began


async def measure(stack: Stack, folder: Path, rows: int, repeats: int) -> list[Row]:
    """Every row of the table."""
    log = folder / "log.csv"
    generate(log, rows)
    found: list[Row] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RUN_S)) as session:
        api = await Api.of(stack, session)
        with peaks(stack) as memory:
            mine, theirs = [], []
            dataset: dict[str, Any] = {}
            for _ in range(repeats):
                seconds, dataset = await upload(api, log)
                mine.append(seconds)
                theirs.append(await asyncio.to_thread(peer_upload, log, folder / "peer.parquet"))
            if dataset["recordCount"] != rows:
                raise RuntimeError(f"{dataset['recordCount']} rows are ready")
            found.append(_ratio("CSV → dataset ready", mine, theirs, UPLOAD_BAR))
            times: dict[str, list[float]] = {side: [] for side in CALLS}
            for _ in range(repeats):
                for side, seconds_of in times.items():
                    seconds_of.append(await load(api, dataset, side))
            found.append(_ratio("load_dataset() in a kernel", times["ours"], times["theirs"], LOAD_BAR))
            (enriched,) = (await run(api, dataset, ENRICHING))["enrichedDatasets"]
            files = {form: folder / f"enriched.{form}" for form in enriched["downloadUrls"]}
            spent = {form: await download(api, enriched["downloadUrls"][form], path) for form, path in files.items()}
            counted = await asyncio.to_thread(compare, log, files["csv"], files["parquet"])
            details = {f"{form}_s": round(seconds, 3) for form, seconds in spent.items()}
            found.append(
                Row(
                    name="rows of the enriched copy, equal in log, CSV and Parquet",
                    ours=", ".join(f"{form} {seconds:.1f} s" for form, seconds in spent.items()),
                    theirs="-",
                    figure=counted / rows,
                    unit="x",
                    bar=1.0,
                    details=details,
                )
            )
    found += [
        Row(name=f"peak memory: {name}", ours="", theirs="-", figure=peak, unit=" MB", bar=MEMORY_BAR_MB, at_most=True)
        for name, peak in sorted(memory.items())
    ]
    return found


def _ratio(name: str, mine: list[float], theirs: list[float], bar: float) -> Row:
    a, b = statistics.median(mine), statistics.median(theirs)
    details = {"ours_s": [round(s, 3) for s in mine], "theirs_s": [round(s, 3) for s in theirs]}
    return Row(
        name=name,
        ours=f"{a:.2f} s",
        theirs=f"{b:.2f} s",
        figure=a / b,
        unit="x",
        bar=bar,
        at_most=True,
        details=details,
    )


def main(
    rows: int = typer.Option(10_000_000, help="events of the log"),
    repeats: int = typer.Option(3, help="counted times of each side"),
    output: Path = typer.Option(Path("bench-data.json"), help="where the figures go"),  # noqa: B008 - typer's way
) -> None:
    """Measure uploads, loading and downloads of a large event log against pyarrow and pandas."""
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="atelier-") as name:
        folder = Path(name)
        require_room(folder, rows, repeats)
        folder.chmod(0o755)  # PostgreSQL's own user must be able to enter
        env = {"worker": {"ATELIER_KERNEL_MEMORY_MB": str(KERNEL_MEMORY_MB)}}
        with Stack(folder / "b", slots=2, service_env=env) as stack:
            found = asyncio.run(measure(stack, folder, rows, repeats))
    Console().print(table(found, peer="pyarrow, pandas"))
    print(f"{rows:,} rows, load average {load_average:.1f} at the start; a busy machine blurs every figure")
    figures = {row.name: row.answer() for row in found}
    output.write_text(json.dumps({"rows": rows, "loadAtStart": load_average, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
