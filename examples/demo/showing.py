"""Prints a dataset, a run's status and its results for a person to read."""

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from examples.demo.api import Json
from examples.demo.saving import SavedFile

HEADING = re.compile(r"^#{1,6}\s+(.+)$", re.MULTILINE)
COLUMNS_SHOWN = 6


def dataset(console: Console, value: Json) -> None:
    """The bound dataset: how much there is, and which columns mean what."""
    console.print(
        f"  {value['datasetName']}: [bold]{value['caseCount'] or 0:,} cases[/], {value['recordCount']:,} events, "
        f"{len(value['columns'])} columns",
        highlight=False,
    )
    roles = [("case", "caseIdColumn"), ("activity", "activityColumn"), ("time", "timeColumn")]
    console.print(
        "  " + ", ".join(f"{role} = {value[member]}" for role, member in roles), markup=False, highlight=False
    )


def status(console: Console, value: Json) -> None:
    """The essentials of a status object."""
    progress, outputs, resources = value["progress"], value.get("outputs") or {}, value.get("resources") or {}
    table = Table(title="Run", show_header=False, title_justify="left", box=None, padding=(0, 2))
    table.add_row("status", f"[{'green' if value['status'] == 'Completed' else 'red'}]{value['status']}[/]")
    table.add_row("execution", value["executionId"])
    table.add_row("notebook version", value["notebookVersion"])
    table.add_row("duration", f"{value.get('totalDuration')} (queued {value.get('queuedSeconds') or 0:.1f} s)")
    done = f"{progress['successfulCells']} succeeded, {progress['failedCells']} failed, {progress['totalCells']} in all"
    table.add_row("cells", f"{done} ({progress['percentComplete']}%)")
    counts = [f"{outputs[name]} {word}" for name, word in _COUNTED if outputs.get(name) is not None]
    table.add_row("outputs", ", ".join(counts) or "none")
    enriched = outputs.get("enrichedData")
    if enriched:
        table.add_row("enriched data", f"{enriched['recordCount']:,} rows, new: {', '.join(enriched['newColumns'])}")
    used = [f"{resources[name]} {word}" for name, word in _USED if resources.get(name)]
    table.add_row("resources", ", ".join(used) or "unknown")
    for warning in value.get("warnings") or []:
        table.add_row("warning", escape(str(warning)))
    console.print(table)


_COUNTED = (("dataFrames", "tables"), ("plots", "plots"), ("models", "models"))
_USED = (("peakMemoryUsage", "of memory"), ("cpuTime", "of CPU"), ("diskUsage", "on disk"))


def failure(console: Console, value: Json) -> None:
    """Why a run did not complete."""
    where = f" in {value['failedCell']}" if value.get("failedCell") else ""
    said = f"{value.get('errorType')}: {value.get('errorMessage')}" if value.get("errorType") else "it was cancelled"
    console.print(f"[red]The run ended as {value['status']}{where}[/]", highlight=False)
    console.print(f"  {said}", markup=False, highlight=False)


def results(console: Console, value: Json) -> None:
    """Everything in a results object, a row each."""
    table = Table(title="Results", title_justify="left")
    table.add_column("kind")
    table.add_column("name", overflow="fold")
    table.add_column("what it is", overflow="fold")
    for output in value["outputs"]:
        table.add_row("output", escape(str(output.get("title") or output["cellId"])), _output_words(output))
    for enriched in value["enrichedDatasets"]:
        words = f"{enriched['recordCount']:,} rows; new columns: {', '.join(enriched['newColumns'])}"
        table.add_row("dataset", escape(enriched["name"]), escape(words))
    for model in value["models"]:
        score = "" if model.get("accuracy") is None else f", accuracy {model['accuracy']:.3f}"
        figures = ", ".join(f"{name} {number}" for name, number in _rounded(model.get("metrics") or {}))
        words = f"{model['modelType']}{score}{f' ({figures})' if figures else ''}; from {_some(model['features'])}"
        table.add_row("model", escape(model["name"]), escape(words))
    for report in value["reports"]:
        table.add_row("report", escape(report["name"]), report["format"])
    console.print(table)


def files(console: Console, folder: Path, saved: Sequence[SavedFile]) -> None:
    """The files fetched: what each is, how large, and how long it took."""
    table = Table(title=f"Saved to {folder}", title_justify="left")
    table.add_column("file", no_wrap=True, overflow="fold")
    table.add_column("what it is", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("took", justify="right")
    for file in saved:
        table.add_row(escape(file.path.name), escape(file.what), size(file.size), f"{file.seconds:.2f} s")
    console.print(table)


def cell_titles(notebook: Json) -> dict[str, str]:
    """A name for each cell: the heading in it or the nearest above it."""
    titles: dict[str, str] = {}
    heading = ""
    for cell in notebook.get("cells") or []:
        found = HEADING.search(cell.get("content") or "") if cell.get("cellType") == "markdown" else None
        heading = found.group(1).strip() if found else heading
        titles[cell["cellId"]] = heading or cell["cellId"]
    return titles


def size(count: int) -> str:
    """Bytes for a person."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KB" if count < 1024**2 else f"{count / 1024**2:.1f} MB"


def _output_words(output: Json) -> str:
    kind = output.get("contentType") or output["outputType"]
    dimensions = output.get("dimensions")
    return escape(f"{kind}, {dimensions['width']} x {dimensions['height']}" if dimensions else str(kind))


def _rounded(metrics: Json) -> list[tuple[str, str]]:
    return [
        (name, f"{number:.3g}" if isinstance(number, float) else str(number))
        for name, number in metrics.items()
        if isinstance(number, int | float | str)
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - COLUMNS_SHOWN} more" if len(names) > COLUMNS_SHOWN else ""
    return (", ".join(names[:COLUMNS_SHOWN]) or "no named features") + more
