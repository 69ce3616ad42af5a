"""Runs the starter template on an event log through the REST API, and shows and saves what comes of it."""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from examples.demo import following, saving, showing
from examples.demo.api import Api, ApiError, Json

TEMPLATE = "process_mining_starter"
SETTINGS = ("ATELIER_URL", "ATELIER_TENANT", "ATELIER_PROJECT", "ATELIER_API_KEY")
TIMEOUT_SECONDS = 1800  # for the run; the API's own default
PLAIN_WIDTH = 110  # columns where there is no terminal to fit


class Unusable(Exception):
    """The demo cannot begin; the text says what to do."""


def main() -> int:
    """Runs the demo; the exit code is 0 only when the run has completed and all files are saved."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--data", type=Path, help="event log to use: CSV, Parquet or XES (default: the simulation)")
    parser.add_argument("--env", type=Path, default=Path(".atelier/dev.env"), help="where the API is: see 'make up'")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the files")
    args = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    try:
        return run(console, settings(args.env), args.data, args.output)
    except (ApiError, Unusable, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; a run that has begun goes on", file=sys.stderr)
        return 130


def run(console: Console, values: dict[str, str], data: Path | None, output: Path) -> int:
    """The workflow. Raises ApiError, Unusable and OSError."""
    if data is not None and not data.is_file():
        raise Unusable(f"there is no file {data}")
    api = Api(*(values[name] for name in SETTINGS))
    clock = _Clock(console)

    clock.step("Dataset")
    dataset = api.get(f"dataset/{values['ATELIER_DATASET']}") if data is None else _upload(console, api, data)
    if data is None:
        console.print("  a seeded simulation, not a real process (DATA=file.csv uses your own log)")
    showing.dataset(console, dataset)

    clock.step("Notebook")
    notebook = api.post(
        "notebook",
        {
            "notebookName": f"Demo on {dataset['datasetName']}"[:200],
            "notebookDescription": "Made by the demo program",
            "kernelType": "python3",
            "template": TEMPLATE,
            "integration": {
                "enrichmentMode": True,
                "datasetBinding": dataset["datasetId"],
                "outputFormat": "enriched_dataframe",
                "autoExecution": False,
            },
        },
    )
    console.print(
        f"  {notebook['notebookId']} from template {TEMPLATE}, {len(notebook['cells'])} cells", highlight=False
    )

    clock.step("Execution")
    execution = api.post(
        f"notebook/{notebook['notebookId']}/execute",
        {
            "executionMode": "all",
            "outputOptions": {"captureOutputs": True, "saveIntermediateResults": True, "generateReport": True},
            "timeout": TIMEOUT_SECONDS,
        },
    )
    path = f"notebook/{notebook['notebookId']}/execution/{execution['executionId']}"
    with following.Display(console, showing.cell_titles(notebook), execution["progress"]["totalCells"]) as display:
        status = following.follow(api, path, display)
    showing.status(console, status)

    clock.step("Results")
    results = api.get(f"{path}/results", format="detailed")
    plots = api.get(f"{path}/results", outputType="plots", format="summary")
    showing.results(console, results)

    clock.step("Files")
    saver = saving.save_all(api, path, results, plots, output)
    showing.files(console, output, saver.saved)
    clock.close()
    if status["status"] != "Completed":
        showing.failure(console, status)
        return 1
    return 0


def settings(path: Path) -> dict[str, str]:
    """Where the API is: what dev.env says, else environment variables of the same names. Raises Unusable."""
    wanted = (*SETTINGS, "ATELIER_DATASET")
    values = {name: os.environ.get(name, "") for name in wanted}
    if path.is_file():
        pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
        values |= {name: "".join(shlex.split(value)) for name, _, value in pairs}
    missing = [name for name in wanted if not values.get(name)]
    if missing:
        raise Unusable(f"{', '.join(missing)}: neither set nor in {path}; run 'make up' first")
    return values


def _upload(console: Console, api: Api, data: Path) -> Json:
    columns = (TextColumn("  sending {task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(data.name, total=data.stat().st_size)
        return api.upload("dataset", data, {"datasetName": data.stem}, lambda count: bar.advance(task, count))


class _Clock:
    """Announces the steps and says at the end how long each took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._took: list[tuple[str, float]] = []
        self._current: tuple[str, float] | None = None

    def step(self, name: str) -> None:
        self._end()
        self._console.rule(name, align="left")
        self._current = (name, time.monotonic())

    def close(self) -> None:
        self._end()
        parts = ", ".join(f"{name.lower()} {seconds:.1f} s" for name, seconds in self._took)
        self._console.print(f"Took {sum(seconds for _, seconds in self._took):.1f} s: {parts}", highlight=False)

    def _end(self) -> None:
        if self._current is not None:
            name, began = self._current
            self._took.append((name, time.monotonic() - began))
            self._current = None


if __name__ == "__main__":
    sys.exit(main())
