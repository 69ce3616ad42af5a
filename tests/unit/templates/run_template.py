"""Runs a template's code cells, for tests: in the base kernel environment, as a program of its own.

It reads a JSON list of scenarios from standard input, `{"template", "run"}` (files: the template, a run folder), runs
the cells of each in a fresh namespace with warnings as errors, and writes one JSON list of what was displayed, printed
and raised. The parameters of `run.json` are assigned after the cell tagged `parameters`, as the platform does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import IPython.display


def code_cells(source: str, parameters: dict[str, Any]) -> list[str]:
    """The code of a percent-format script, cell by cell."""
    cells = []
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        marker, _, body = part.partition("\n")
        if "[markdown]" in marker:
            continue
        cells.append(body)
        if "parameters" in marker:
            cells.append("\n".join(f"{name} = {value!r}" for name, value in parameters.items()))
    return cells


def run(template: Path, folder: Path) -> dict[str, Any]:
    """Runs one scenario."""
    os.environ["ATELIER_RUN_DIR"] = str(folder)
    shown: list[dict[str, Any]] = []

    def display(value: Any, metadata: dict[str, Any] | None = None) -> None:
        data = value.data if isinstance(value, IPython.display.JSON) else None
        shown.append({"type": type(value).__name__, "title": (metadata or {}).get("title"), "data": data})

    IPython.display.display = display
    parameters = json.loads((folder / "run.json").read_text("utf-8"))["parameters"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed, error, started = io.StringIO(), None, time.perf_counter()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            for number, cell in enumerate(code_cells(template.read_text("utf-8"), parameters), start=1):
                exec(compile(cell, f"<cell {number}>", "exec"), namespace)
        except Exception:
            error = traceback.format_exc()
    seconds = time.perf_counter() - started
    return {
        "shown": shown,
        "printed": printed.getvalue(),
        "error": error,
        "seconds": seconds,
        "notes": list(namespace.get("notes", [])),
        "analysed_cases": int(namespace["total"]) if "total" in namespace else None,
    }


if __name__ == "__main__":
    warnings.simplefilter("error")
    scenarios = json.load(sys.stdin)
    json.dump([run(Path(one["template"]), Path(one["run"])) for one in scenarios], sys.stdout)
