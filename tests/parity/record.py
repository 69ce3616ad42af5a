"""Records the right answers: every case by the papermill command, in the base environment and in a built one.

python -m tests.parity.record             # all
python -m tests.parity.record base await shell/echo   # this environment, these kinds and cases; the rest stays
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from deploy.local.services import KERNEL_PYTHON
from tests.parity import environment
from tests.parity.answers import Answer
from tests.parity.corpus import Case, cases
from tests.parity.papermill_runs import Papermill

FILE = Path(__file__).parent / "record.json"

WHERE = ("base", "built")
"""The environments."""

AT_A_TIME = 2
"""Notebooks that papermill runs side by side."""

VERSIONS = """
import importlib.metadata, json, platform
names = ["ipykernel", "ipython", "ipywidgets", "matplotlib", "numpy", "pandas"]
found = {name: importlib.metadata.version(name) for name in names}
print(json.dumps({"python": ".".join(platform.python_version_tuple()[:2]), **found}))
"""


def versions(python: Path) -> dict[str, str]:
    """The versions that answers depend on, of this process's papermill and of a kernel environment."""
    done = subprocess.run([python, "-c", VERSIONS], check=True, capture_output=True, text=True)
    ours = {name: metadata.version(name) for name in ("jupyter-client", "nbclient", "papermill")}
    return {**ours, **json.loads(done.stdout)}


async def answers_of(python: Path, chosen: Collection[Case], folder: Path) -> dict[str, Answer]:
    """What papermill makes of the `chosen` cases in the environment of an interpreter, by id."""
    papermill = Papermill(folder, python)
    gate = asyncio.Semaphore(AT_A_TIME)
    found: dict[str, Answer] = {}

    async def run(case: Case) -> None:
        async with gate:
            try:
                found[case.id] = await papermill.run(case)
            except RuntimeError as error:
                print(f"{case.id} could not be recorded: {error}", file=sys.stderr)

    await asyncio.gather(*map(run, chosen))
    return found


async def record(chosen: Sequence[Case], folder: Path, where: Collection[str] = WHERE) -> dict[str, Any]:
    """The record of the `chosen` cases."""
    base: dict[str, Answer] = {}
    built: dict[str, Answer] = {}
    if "base" in where:
        base = await answers_of(KERNEL_PYTHON, [case for case in chosen if not case.built], folder / "base")
    if "built" in where:
        python = await asyncio.to_thread(environment.build, folder / "environment", KERNEL_PYTHON)
        built = await answers_of(python, chosen, folder / "built")
    return {
        "made": {"date": dt.datetime.now(dt.UTC).date().isoformat(), **versions(KERNEL_PYTHON)},
        "packages": environment.PACKAGES,
        "base": base,
        "built": built,
    }


def load() -> dict[str, Any]:
    """The committed record."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def expected(record: dict[str, Any], where: str, name: str) -> Answer:
    """The recorded answer of a case in the `base` or the `built` environment; most are the same in both."""
    found: Answer = record[where].get(name) or record["base"][name]
    return found


def without_repetition(record: dict[str, Any]) -> dict[str, Any]:
    """The record without answers of the built environment that are those of the base one."""
    built = {name: found for name, found in record["built"].items() if found != record["base"].get(name)}
    return {**record, "built": built}


def text_of(record: dict[str, Any]) -> str:
    """The record as JSON that is read, and compared, line by line: a line a cell."""

    def line(value: Any) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)

    lines = ["{"]
    for where in WHERE:
        lines.append(f"{line(where)}: {{")
        for name, found in sorted(record[where].items()):
            cells = ",\n  ".join(map(line, found["cells"]))
            others = "".join(f",\n {line(key)}: {line(found[key])}" for key in sorted(found) if key != "cells")
            lines.append(f'{line(name)}: {{"cells": [\n  {cells}]{others}}},')
        lines[-1] = lines[-1].removesuffix(",")
        lines.append("},")
    lines += [f'"made": {line(record["made"])},', f'"packages": {line(record["packages"])}', "}", ""]
    return "\n".join(lines)


def chosen_of(names: Sequence[str]) -> list[Case]:
    """The cases that are named by id or by kind; all, where none is named. Raises ValueError for an unknown name."""
    found = [case for case in cases().values() if not names or {case.id, case.kind} & set(names)]
    if unknown := set(names) - {case.id for case in found} - {case.kind for case in found}:
        raise ValueError(f"there is no case and no kind of cases called {', '.join(sorted(unknown))}")
    return found


def main() -> None:
    """Record and write the file."""
    where = [name for name in sys.argv[1:] if name in WHERE]
    names = [name for name in sys.argv[1:] if name not in WHERE]
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        made = asyncio.run(record(chosen_of(names), Path(folder), where or WHERE))
    if sys.argv[1:]:
        kept = load()
        for one in WHERE:
            made[one] = {name: found for name, found in (kept[one] | made[one]).items() if name in cases()}
    made = without_repetition(made)
    FILE.write_text(text_of(made), encoding="utf-8")
    print(f"{len(made['base'])} answers, {len(made['built'])} others in the built environment: {FILE.name}")


if __name__ == "__main__":
    main()
