"""The starter template ends well on every log, each of its parameters does something, and it loses no row or column."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from mindzie_sdk import ProcessMiningClient

from tests.unit.templates import scenarios
from tests.unit.templates.scenarios import Outcome

REFERENCE_PYTHON = {
    "analysis_type": "full_analysis",
    "time_window": "30_days",
    "ml_models": ["anomaly_detection", "process_prediction"],
    "generate_visualizations": True,
}
REFERENCE_JAVASCRIPT = {"analysis_period": "2024-01", "include_weekends": False}

SCENARIOS: dict[str, tuple[str, dict[str, Any]]] = {
    "receipt": ("receipt.csv", {}),
    "receipt, the reference's period": ("receipt.csv", REFERENCE_JAVASCRIPT),
    "road": ("roadtraffic100traces.csv", {}),
    "simulated": ("simulated", {}),
    "simulated, the reference's Python": ("simulated", REFERENCE_PYTHON),
    "simulated, the reference's JavaScript": ("simulated", REFERENCE_JAVASCRIPT),
    "period": ("simulated", {"analysis_period": "2024-01"}),
    "no weekends": ("simulated", {"include_weekends": False, "ml_models": []}),
    "performance": ("simulated", {"analysis_type": "performance", "ml_models": []}),
    "variants": ("simulated", {"analysis_type": "variants", "ml_models": []}),
    "no charts": ("simulated", {"generate_visualizations": False, "ml_models": []}),
    "only anomalies": ("simulated", {"ml_models": ["anomaly_detection"]}),
    "only prediction": ("simulated", {"ml_models": ["process_prediction"]}),
    "nonsense": (
        "simulated",
        {
            "analysis_period": "soon",
            "time_window": "x",
            "analysis_type": "y",
            "ml_models": ["z"],
            "dataset_id": "other",
        },
    ),
    "nulls": ("simulated", {"analysis_period": None, "time_window": None, "ml_models": None}),
    "empty": ("empty", {}),
    "one row": ("one row", {}),
    "no times": ("no times", {}),
    "no columns to be found": ("unusable", {}),
    "names taken": ("names taken", {"ml_models": []}),
    "no dataset": ("none", {}),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """All scenarios."""
    return scenarios.run("process_mining_starter", SCENARIOS, tmp_path_factory.mktemp("starter"))


@pytest.fixture
def outcome(outcomes: dict[str, Outcome], request: pytest.FixtureRequest) -> Outcome:
    return scenarios.named(outcomes, request.param)


@pytest.mark.parametrize("outcome", SCENARIOS, indirect=True)
def test_ends_well_with_metrics_and_a_self_contained_report(outcome: Outcome) -> None:
    assert outcome.result["error"] is None
    assert outcome.titles[0] == "Dataset overview"
    assert outcome.metrics["cases"] == outcome.result["analysed_cases"]
    report = outcome.report()
    assert report.startswith("<!doctype html>")
    assert "<script" not in report
    assert "http://" not in report
    assert "https://" not in report
    assert report.count("<section") == report.count("</section>")
    for note in outcome.result["notes"]:
        assert note.split("'")[0] in report


@pytest.mark.parametrize(
    ("outcome", "rows", "cases"),
    [("receipt", 8577, 1434), ("road", 390, 100), ("simulated", None, 600), ("no times", 200, None)],
    indirect=["outcome"],
)
def test_the_enriched_log_loses_nothing(outcome: Outcome, rows: int | None, cases: int | None) -> None:
    before = ProcessMiningClient(outcome.folder).load_dataset()
    enriched = outcome.enriched()
    (record,) = outcome.records("enriched_dataset")
    assert len(enriched) == len(before) == (rows or len(before))
    pd.testing.assert_frame_equal(enriched[list(before.columns)], before)
    assert record["newColumns"] == list(enriched.columns[len(before.columns) :])
    expected = {
        "event_index", "time_since_previous_hours", "case_duration_hours", "case_events", "variant_rank", "is_rework",
        "is_weekend", "in_analysis",
    }  # fmt: skip
    if outcome.records("model"):
        expected |= {"anomaly_score", "is_anomaly"}
    assert set(record["newColumns"]) == expected
    if cases is not None:
        assert outcome.metrics["cases"] == cases


@pytest.mark.parametrize("outcome", ["receipt"], indirect=True)
def test_receipt_at_its_best(outcome: Outcome) -> None:
    assert outcome.notes == ""
    assert outcome.metrics["activities"] == 27
    assert outcome.metrics["variants"] == 116
    assert outcome.metrics["mostFrequentVariantPercent"] == 49.7
    images = [shown["title"] for shown in outcome.result["shown"] if shown["type"] == "Image"]
    assert images == ["How long cases take", "Where the time goes", "Process flow"]
    assert outcome.report().count("data:image/png;base64,") == 3
    (saved,) = outcome.records("value")
    assert saved["value"] == outcome.metrics


@pytest.mark.parametrize("outcome", ["receipt", "simulated"], indirect=True)
def test_the_prediction_is_tested_honestly(outcome: Outcome) -> None:
    model = next(record for record in outcome.records("model") if record["name"] == "process_prediction")
    metrics = model["metrics"]
    assert model["modelType"] == "RandomForestClassifier"
    assert model["accuracy"] == metrics["accuracy"]
    assert metrics["roc_auc"] > 0.6  # it learns something; 0.5 is chance
    assert metrics["train_cases"] > metrics["test_cases"] > 100
    assert 0.5 <= metrics["baseline_accuracy"] < 1
    assert not [name for name in model["features"] if "duration" in name or "end" in name.split("=")[0]]
    assert f"{metrics['baseline_accuracy']:.1%}" in outcome.report()


@pytest.mark.parametrize("outcome", ["road"], indirect=True)
def test_a_small_log_says_what_it_cannot_do_or_does_it(outcome: Outcome) -> None:
    trained = [record["name"] for record in outcome.records("model")]
    assert "anomaly_detection" in trained
    assert ("process_prediction" in trained) != ("No prediction model" in outcome.notes)


@pytest.mark.parametrize("outcome", ["receipt, the reference's period"], indirect=True)
def test_a_period_without_cases_uses_the_whole_log_and_says_so(outcome: Outcome) -> None:
    assert outcome.metrics["cases"] == 1434
    assert "analysis_period '2024-01' left no case; the whole log is analysed instead." in outcome.notes
    assert "left no case; the whole log is analysed instead." in outcome.report()
    assert outcome.enriched()["in_analysis"].all()


def test_each_filter_narrows_the_analysis_but_not_the_enriched_log(outcomes: dict[str, Outcome]) -> None:
    whole = outcomes["simulated"].metrics
    for name in ("period", "simulated, the reference's Python", "simulated, the reference's JavaScript"):
        outcome = outcomes[name]
        assert 0 < outcome.metrics["cases"] < whole["cases"]
        assert "keeps" in outcome.notes
        enriched = outcome.enriched()
        assert len(enriched) == whole["events"]
        assert enriched.loc[enriched["in_analysis"], "case_id"].nunique() == outcome.metrics["cases"]
        assert {record["name"] for record in outcome.records("model")} == {"anomaly_detection", "process_prediction"}


def test_weekends_can_be_left_out_of_durations(outcomes: dict[str, Outcome]) -> None:
    without = outcomes["no weekends"]
    assert without.metrics["cases"] == outcomes["simulated"].metrics["cases"]
    assert without.metrics["medianCycleTimeHours"] < 0.9 * outcomes["simulated"].metrics["medianCycleTimeHours"]
    assert "Saturdays and Sundays (UTC) are not counted" in without.notes
    longer, shorter = outcomes["simulated"].enriched(), without.enriched()
    assert (shorter["case_duration_hours"] <= longer["case_duration_hours"] + 1e-6).all()


def test_the_type_of_analysis_chooses_the_parts(outcomes: dict[str, Outcome]) -> None:
    performance, variants = outcomes["performance"], outcomes["variants"]
    assert {"Bottlenecks", "Throughput per activity", "Where the time goes"} <= set(performance.titles)
    assert not {"Rework", "Most frequent variants", "Process flow"} & set(performance.titles)
    assert {"Rework", "Most frequent variants", "Process flow"} <= set(variants.titles)
    assert not {"Bottlenecks", "Throughput per activity", "Where the time goes"} & set(variants.titles)
    assert "<h2>Rework</h2>" not in performance.report()
    assert "<h2>Bottlenecks</h2>" not in variants.report()


def test_charts_can_be_switched_off(outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes["no charts"]
    assert not [shown for shown in outcome.result["shown"] if shown["type"] == "Image"]
    assert "data:image/png" not in outcome.report()
    assert "<h2>Bottlenecks</h2>" in outcome.report()


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("simulated", {"anomaly_detection", "process_prediction"}),
        ("only anomalies", {"anomaly_detection"}),
        ("only prediction", {"process_prediction"}),
        ("no charts", set()),
        ("nulls", set()),
    ],
)
def test_ml_models_chooses_what_is_trained(outcomes: dict[str, Outcome], name: str, trained: set[str]) -> None:
    outcome = outcomes[name]
    assert {record["name"] for record in outcome.records("model")} == trained
    assert ("anomaly_score" in outcome.enriched()) == ("anomaly_detection" in trained)


def test_what_is_not_understood_is_told(outcomes: dict[str, Outcome]) -> None:
    notes = outcomes["nonsense"].notes
    assert "analysis_period was not applied: 'soon' is no period" in notes
    assert "time_window was not applied: 'x' is no time window" in notes
    assert "analysis_type 'y' is unknown" in notes
    assert "ml_models z: unknown" in notes
    assert "dataset_id asked for other" in notes
    assert outcomes["nonsense"].metrics["cases"] == 600


@pytest.mark.parametrize(
    ("name", "note", "rows"),
    [
        ("empty", "The dataset has no rows.", 0),
        ("one row", "No anomaly model: it needs 30 cases, the log has 1.", 1),
        ("no times", "200 of 200 events have no readable time.", 200),
        ("no columns to be found", "The dataset has no column for: case, activity, time.", 2),
        ("no dataset", "There was nothing to analyse: no dataset is bound to this run", None),
    ],
)
def test_odd_logs_say_what_could_not_be_done(
    outcomes: dict[str, Outcome], name: str, note: str, rows: int | None
) -> None:
    outcome = outcomes[name]
    assert note in outcome.notes
    assert "No prediction model" in outcome.notes
    assert "About this run" in outcome.report()
    enriched = outcome.records("enriched_dataset")
    assert [record["recordCount"] for record in enriched] == ([] if rows is None else [rows])


def test_columns_with_a_taken_name_are_kept(outcomes: dict[str, Outcome]) -> None:
    enriched = outcomes["names taken"].enriched()
    assert set(enriched["is_weekend"]) == {"mine"}
    assert set(enriched["event_index"]) == {"mine too"}
    assert {"is_weekend_2", "event_index_2"} <= set(enriched.columns)
