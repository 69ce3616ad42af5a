"""The other templates end well on every log, give what they promise, and lose no row or column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mindzie_sdk import ProcessMiningClient

from tests.unit.templates import scenarios
from tests.unit.templates.scenarios import Outcome

LOGS = {
    "receipt": "receipt.csv",
    "road": "roadtraffic100traces.csv",
    "simulated": "simulated",
    "empty": "empty",
    "one row": "one row",
    "no times": "no times",
    "no columns to be found": "unusable",
    "names taken": "names taken",
    "no dataset": "none",
}
MORE: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "customer_segmentation": {
        "by resource": ("receipt.csv", {"customer_column": "org:resource", "segments": 3}),
        "by nothing known": ("simulated", {"customer_column": "no such column", "include_weekends": False}),
        "too many": ("one row", {"segments": 50}),
        "a period": ("simulated", {"analysis_period": "2024-01"}),
    },
    "anomaly_detection": {
        "many": ("simulated", {"anomaly_share": 0.2, "planted_cases": 0}),
        "nonsense": ("simulated", {"anomaly_share": 7.0, "rare_step": 0.5, "include_weekends": False}),
        "a period": ("simulated", {"analysis_period": "2024-01"}),
    },
    "throughput_prediction": {
        "from the first event": ("receipt.csv", {"known_events": 1, "forecast_weeks": 4}),
        "nonsense": ("simulated", {"known_events": 0, "forecast_weeks": 500, "test_share": 2.0}),
        "no weekends": ("simulated", {"include_weekends": False}),
    },
}
TRAINED = {
    "customer_segmentation": "customer_segmentation",
    "anomaly_detection": "anomaly_detection",
    "throughput_prediction": "remaining_time",
}
NEW_COLUMNS = {
    "customer_segmentation": {"segment", "segment_name", "segment_distance"},
    "anomaly_detection": {"step_chance", "step_slowness", "anomaly_score", "is_anomaly", "anomaly_reason"},
    "throughput_prediction": {
        "case_duration_hours", "case_begun_week", "predicted_remaining_hours", "actual_remaining_hours",
    },
}  # fmt: skip
CASES = [(template, name) for template, more in MORE.items() for name in (*LOGS, *more)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Outcome]:
    """All templates with all their scenarios."""
    found = {}
    for template, more in MORE.items():
        chosen: dict[str, tuple[str, dict[str, Any]]] = {name: (log, {}) for name, log in LOGS.items()} | more
        done = scenarios.run(template, chosen, tmp_path_factory.mktemp(template))
        found.update({(template, name): outcome for name, outcome in done.items()})
    return found


def _of(outcomes: dict[tuple[str, str], Outcome], template: str, name: str) -> Outcome:
    return scenarios.named({key[1]: one for key, one in outcomes.items() if key[0] == template}, name)


@pytest.mark.parametrize(("template", "name"), CASES)
def test_ends_well_with_metrics_a_value_and_a_self_contained_report(
    outcomes: dict[tuple[str, str], Outcome], template: str, name: str
) -> None:
    outcome = _of(outcomes, template, name)
    assert outcome.result["error"] is None
    assert outcome.titles[0] == "Dataset overview"
    (saved,) = outcome.records("value")
    assert saved["value"] == outcome.metrics
    report = outcome.report()
    assert report.startswith("<!doctype html>")
    assert "<script" not in report
    assert "http://" not in report
    assert "https://" not in report
    assert report.count("<section") == report.count("</section>")
    for note in outcome.result["notes"]:
        assert note.split("'")[0] in report


@pytest.mark.parametrize(("template", "name"), [case for case in CASES if case[1] != "no dataset"])
def test_the_enriched_log_loses_nothing(outcomes: dict[tuple[str, str], Outcome], template: str, name: str) -> None:
    outcome = _of(outcomes, template, name)
    before = ProcessMiningClient(outcome.folder).load_dataset()
    enriched = outcome.enriched()
    (record,) = outcome.records("enriched_dataset")
    pd.testing.assert_frame_equal(enriched[list(before.columns)], before)
    assert record["newColumns"] == list(enriched.columns[len(before.columns) :])
    assert set(record["newColumns"]) <= NEW_COLUMNS[template]


@pytest.mark.parametrize("template", MORE)
@pytest.mark.parametrize("name", ["receipt", "road", "simulated"])
def test_real_logs_get_everything(outcomes: dict[tuple[str, str], Outcome], template: str, name: str) -> None:
    outcome = _of(outcomes, template, name)
    assert [record["name"] for record in outcome.records("model")] == [TRAINED[template]]
    images = [shown for shown in outcome.result["shown"] if shown["type"] == "Image"]
    assert len(images) == 2
    assert outcome.report().count("data:image/png;base64,") == 2
    (record,) = outcome.records("enriched_dataset")
    assert set(record["newColumns"]) == NEW_COLUMNS[template]


def test_segments_are_found_named_and_stable(outcomes: dict[tuple[str, str], Outcome]) -> None:
    outcome = _of(outcomes, "customer_segmentation", "receipt")
    metrics = outcome.metrics
    assert metrics["customers"] == metrics["cases"] == 1434
    assert 2 <= metrics["segments"] <= 6
    assert metrics["silhouette"] > 0.5
    assert metrics["stability"] > 0.8
    enriched = outcome.enriched()
    sizes = enriched.groupby("segment")["case:concept:name"].nunique()
    assert list(sizes) == sorted(sizes, reverse=True)
    assert sizes.sum() == 1434
    assert (enriched.groupby("segment")["segment_name"].nunique() == 1).all()


def test_a_customer_is_what_the_parameter_names(outcomes: dict[tuple[str, str], Outcome]) -> None:
    outcome = _of(outcomes, "customer_segmentation", "by resource")
    assert outcome.metrics["segments"] == 3
    assert outcome.metrics["customers"] < 60
    unknown = _of(outcomes, "customer_segmentation", "by nothing known")
    assert "The log has no column 'no such column': each case stands for itself." in unknown.notes


def test_anomalies_come_with_reasons_and_planted_ones_are_found(outcomes: dict[tuple[str, str], Outcome]) -> None:
    for name, share in (("receipt", 0.05), ("simulated", 0.05), ("many", 0.2)):
        outcome = _of(outcomes, "anomaly_detection", name)
        metrics = outcome.metrics
        assert metrics["anomalies"] == round(share * metrics["cases"])
        enriched = outcome.enriched()
        assert (enriched["anomaly_reason"].notna() == enriched["is_anomaly"].fillna(False)).all()
    for name in ("receipt", "simulated"):
        found = _of(outcomes, "anomaly_detection", name).metrics["plantedFoundPercent"]
        assert found > 25  # chance alone finds about 10
    assert _of(outcomes, "anomaly_detection", "many").metrics["plantedFoundPercent"] is None
    assert "anomaly_share 7.0 was taken as 0.5." in _of(outcomes, "anomaly_detection", "nonsense").notes


def test_the_remaining_time_is_predicted_for_cases_never_seen(outcomes: dict[tuple[str, str], Outcome]) -> None:
    outcome = _of(outcomes, "throughput_prediction", "receipt")
    metrics = outcome.metrics
    assert metrics["medianErrorHours"] < 0.6 * metrics["ruleMedianErrorHours"]
    enriched = outcome.enriched()
    predicted = enriched.dropna(subset=["predicted_remaining_hours"])
    (model,) = outcome.records("model")
    assert predicted["case:concept:name"].nunique() == model["metrics"]["test_cases"]
    assert not [name for name in model["features"] if "duration" in name or "remaining" in name]
    late = predicted["time:timestamp"].astype(str).min()
    assert late > enriched["time:timestamp"].astype(str).min()


def test_what_no_model_can_do_is_said(outcomes: dict[tuple[str, str], Outcome]) -> None:
    road = _of(outcomes, "throughput_prediction", "road")
    assert "The model is no better than always answering the median of the past" in road.notes
    nonsense = _of(outcomes, "throughput_prediction", "nonsense").notes
    for told in (
        "known_events 0 was taken as 1",
        "forecast_weeks 500 was taken as 52",
        "test_share 2.0 was taken as 0.5",
    ):
        assert told in nonsense
    assert "No forecast: it needs 12 whole weeks" in _of(outcomes, "throughput_prediction", "one row").notes
    assert "No anomalies: the comparison needs 30 cases" in _of(outcomes, "anomaly_detection", "one row").notes
    assert "No segments: they need 20 different customers" in _of(outcomes, "customer_segmentation", "empty").notes


@pytest.mark.parametrize("template", sorted(scenarios.TEMPLATES.glob("*.py")), ids=lambda path: path.stem)
def test_templates_are_tidy_percent_scripts(template: Path) -> None:
    lines = template.read_text("utf-8").splitlines()
    markers = [line for line in lines if line.startswith("# %%")]
    assert set(markers) <= {"# %%", "# %% [markdown]", '# %% tags=["parameters"]'}
    assert markers[:2] == ["# %% [markdown]", '# %% tags=["parameters"]']
    assert markers.count('# %% tags=["parameters"]') == 1
    assert max(map(len, lines)) <= 120
