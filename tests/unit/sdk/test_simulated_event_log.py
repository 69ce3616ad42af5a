"""The simulated log is the same on every machine and holds what demonstrations need of it."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import process_mining_utils as pm
import pytest

from examples.simulate_event_log import COLUMNS, main, simulate

NAMES: dict[str, Any] = {"case": "case_id", "activity": "activity", "time": "timestamp"}
SHA256_OF_100_CASES = "e021e93284479da403a1dfa775e47416450c1f97fd6418de7b57f6aab796aea6"
"""Of `--cases 100 --seed 7`. A change here is a change of the simulation: the documents show its figures."""


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    return pd.read_csv(io.StringIO(simulate(1000, 7)))


def test_same_seed_same_bytes() -> None:
    assert hashlib.sha256(simulate(100, 7).encode()).hexdigest() == SHA256_OF_100_CASES
    assert simulate(100, 8) != simulate(100, 7)


def test_command_line(tmp_path: Path) -> None:
    script = Path(sys.modules["examples.simulate_event_log"].__file__ or "")
    command = [sys.executable, "-I", str(script), "--cases", "20", "--seed", "3"]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    assert printed.decode() == simulate(20, 3)
    target = tmp_path / "log.csv"
    assert main(["--cases", "20", "--seed", "3", "--output", str(target)]) == 0
    assert target.read_bytes() == printed
    with pytest.raises(SystemExit):
        main(["--cases", "-1"])


def test_has_the_columns_the_platform_detects(log: pd.DataFrame) -> None:
    assert tuple(log.columns) == COLUMNS
    found = pm.detect_columns(log)
    assert (found.case, found.activity, found.time, found.resource) == ("case_id", "activity", "timestamp", "resource")
    assert log.notna().all().all()


def test_spans_the_winter_in_time_order(log: pd.DataFrame) -> None:
    times = pm.to_times(log["timestamp"])
    assert times.is_monotonic_increasing
    assert times.min() < pd.Timestamp("2023-11-03", tz="UTC")
    assert pd.Timestamp("2024-03-25", tz="UTC") < times.max() < pd.Timestamp("2024-04-01", tz="UTC")
    assert log["case_id"].nunique() == 1000
    january = pm.select_cases(log, analysis_period="2024-01", case="case_id", time="timestamp").events
    assert 0 < january["case_id"].nunique() < 1000


def test_holds_a_bottleneck_rework_weekends_and_deviations(log: pd.DataFrame) -> None:
    waits = pm.bottlenecks(log, **NAMES)
    assert ("Check order", "Check credit") in set(zip(waits["source"].head(4), waits["target"].head(4), strict=True))
    assert "Check order" in pm.rework(log, **NAMES)["activity"].tolist()
    times = pm.to_times(log["timestamp"])
    assert 0 < pm.is_weekend(times).mean() < 0.3
    variants = pm.variants(log, **NAMES)
    assert len(variants) > 20
    skipped = ~log.groupby("case_id")["activity"].agg(set).map(lambda steps: "Check credit" in steps)
    assert 0 < skipped.mean() < 0.2
    assert log["activity"].eq("Cancel order").any()


def test_nobody_does_two_things_at_once_and_offices_close(log: pd.DataFrame) -> None:
    people = log[~log["resource"].isin(["EDI gateway", "Web shop"])]
    assert not people.duplicated(["resource", "timestamp"]).any()
    clerks = pm.to_times(people.loc[people["resource"].isin(["Emil", "Fatima"]), "timestamp"])
    assert not pm.is_weekend(clerks).any()


@pytest.mark.parametrize("cases", [0, 1])
def test_tiny_logs(cases: int) -> None:
    log = pd.read_csv(io.StringIO(simulate(cases, 7)))
    assert log["case_id"].nunique() == cases
