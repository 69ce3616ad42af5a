"""Scenarios for templates: a template, a log and parameters, run in the base kernel environment, and their outcome."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mindzie_sdk import ProcessMiningClient

from examples.simulate_event_log import simulate

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "services" / "catalog" / "templates"
RUNNER = Path(__file__).parent / "run_template.py"
SAMPLES = Path(os.environ.get("ATELIER_SAMPLE_DATA", ROOT.parent / "shared" / "data"))
IN_CI = os.environ.get("CI", "").lower() == "true"
TIMEOUT_S = 300  # twenty runs of two seconds each on a busy machine


@dataclass(frozen=True)
class Outcome:
    """What a run displayed, and what it left in its run folder."""

    folder: Path
    result: dict[str, Any]

    @property
    def titles(self) -> list[str]:
        return [shown["title"] for shown in self.result["shown"]]

    @property
    def notes(self) -> str:
        return "\n".join(self.result["notes"])

    @property
    def metrics(self) -> dict[str, Any]:
        (shown,) = [shown for shown in self.result["shown"] if shown["type"] == "JSON"]
        data: dict[str, Any] = shown["data"]
        return data

    def records(self, kind: str) -> list[dict[str, Any]]:
        paths = sorted((self.folder / "outputs" / ".atelier").glob("*.json"))
        found = [json.loads(path.read_text("utf-8")) for path in paths]
        return [record for record in found if record["kind"] == kind]

    def report(self) -> str:
        (record,) = self.records("report")
        return Path(self.folder / "outputs" / record["file"]).read_text("utf-8")

    def enriched(self) -> pd.DataFrame:
        (record,) = self.records("enriched_dataset")
        return pd.read_parquet(self.folder / "outputs" / record["file"])


def kernel_python() -> str:
    for candidate in (os.environ.get("ATELIER_KERNEL_PYTHON", ""), str(ROOT / ".venv-kernel" / "bin" / "python")):
        if candidate and Path(candidate).exists():
            return candidate
    if IN_CI:
        pytest.fail("the base kernel environment is missing: set ATELIER_KERNEL_PYTHON")
    pytest.skip("the base kernel environment is missing: set ATELIER_KERNEL_PYTHON")


def dataset(name: str, folder: Path) -> Path | pd.DataFrame | None:
    simulated = folder / "simulated.csv"
    if not simulated.exists():
        simulated.write_text(simulate(600, 7), encoding="utf-8")
    log = pd.read_csv(simulated)
    made: dict[str, Path | pd.DataFrame | None] = {
        "none": None,
        "simulated": simulated,
        "empty": log.head(0),
        "one row": log.head(1),
        "no times": log.head(200).assign(timestamp=None),
        "unusable": pd.DataFrame({"colour": ["red", "blue"], "size": [1.0, 2.0]}),
        "names taken": log.head(500).assign(is_weekend="mine", event_index="mine too"),
    }
    return made[name] if name in made else SAMPLES / name


def run(template: str, scenarios: Mapping[str, tuple[str, dict[str, Any]]], base: Path) -> dict[str, Outcome]:
    """Every scenario (name: log, parameters) of a template, in one process: the imports take longer than a run."""
    python = kernel_python()
    has_samples = (SAMPLES / "receipt.csv").exists()
    if IN_CI and not has_samples:
        pytest.fail(f"the sample logs are missing from {SAMPLES}")
    folders: dict[str, Path] = {}
    for name, (source, parameters) in scenarios.items():
        if source.endswith(".csv") and not has_samples:
            continue
        folders[name] = base / name.replace("'", "").replace(" ", "_")
        ProcessMiningClient.local(dataset(source, base), parameters, folders[name])
    path = TEMPLATES / f"{template}.py"
    work = [{"template": str(path), "run": str(folder)} for folder in folders.values()]
    done = subprocess.run(
        [python, str(RUNNER)],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=base,
        env={
            "PATH": os.defpath,
            "HOME": str(base),
            "MPLCONFIGDIR": str(base),
            "PYTHONPATH": str(ROOT / "sdk"),
            "OMP_NUM_THREADS": "1",  # small logs; threads that wait for one another take most of the time
        },
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    return {name: Outcome(folders[name], result) for name, result in zip(folders, results, strict=True)}


def named(outcomes: dict[str, Outcome], name: str) -> Outcome:
    """The outcome of a scenario; skips the test where its log is missing."""
    if name not in outcomes:
        pytest.skip(f"the sample logs are missing from {SAMPLES}")
    return outcomes[name]
