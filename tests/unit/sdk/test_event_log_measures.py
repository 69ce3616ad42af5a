"""The measures are right on logs small enough to work out by hand, and on the odd ones."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import process_mining_utils as pm
import pytest

NAMES: dict[str, Any] = {"case": "case", "activity": "act", "time": "when"}
FUNCTIONS: list[Callable[..., pd.DataFrame]] = [
    pm.case_durations,
    pm.case_variants,
    pm.variants,
    pm.activity_throughput,
    pm.directly_follows,
    pm.bottlenecks,
    pm.rework,
    pm.event_measures,
    pm.case_features,
]


def log(*events: tuple[Any, Any, Any]) -> pd.DataFrame:
    """A log of (case, activity, time) with plain column names."""
    return pd.DataFrame(list(events), columns=["case", "act", "when"], dtype=object)


ORDERS = log(
    ("1", "A", "2024-01-01T08:00Z"),
    ("2", "A", "2024-01-01T08:00Z"),
    ("1", "B", "2024-01-01T10:00Z"),
    ("2", "C", "2024-01-01T09:00Z"),
    ("1", "B", "2024-01-01T14:00Z"),
    ("3", "A", "2024-01-05T20:00Z"),
    ("1", "C", "2024-01-01T15:00Z"),
    ("3", "C", "2024-01-08T04:00Z"),
)


def test_case_durations() -> None:
    table = pm.case_durations(ORDERS, **NAMES)
    assert table["case"].tolist() == ["1", "2", "3"]
    assert table["duration_hours"].tolist() == [7.0, 1.0, 56.0]
    assert table["events"].tolist() == [4, 2, 2]
    assert table["start"].iloc[0] == pd.Timestamp("2024-01-01T08:00Z")
    assert table["end"].iloc[0] == pd.Timestamp("2024-01-01T15:00Z")


def test_weekends_can_be_left_out() -> None:
    # Friday 20:00 to Monday 04:00: four hours of Friday, four of Monday.
    table = pm.case_durations(ORDERS, **NAMES, include_weekends=False)
    assert table["duration_hours"].tolist() == [7.0, 1.0, 8.0]
    waits = pm.directly_follows(ORDERS, **NAMES, include_weekends=False)
    assert waits.set_index(["source", "target"]).loc[("A", "C"), "total_hours"] == 9.0


def test_the_weekday_clock_agrees_with_walking_through_time() -> None:
    draw = random.Random(3)
    begin = pd.Timestamp("2023-12-25", tz="UTC")
    for _ in range(50):
        start = begin + pd.Timedelta(minutes=30 * draw.randrange(700))
        end = start + pd.Timedelta(minutes=30 * draw.randrange(700))
        steps = pd.Series(pd.date_range(start, end, freq="30min", inclusive="left"))
        expected = 0.5 * (len(steps) - int(steps.dt.day_of_week.ge(5).sum())) if len(steps) else 0.0
        clock = pm.elapsed_hours(pd.Series([start, end]), include_weekends=False)
        assert clock[1] - clock[0] == pytest.approx(expected)


def test_variants() -> None:
    table = pm.variants(ORDERS, **NAMES)
    assert table["variant"].tolist() == ["A → C", "A → B → B → C"]
    assert table["cases"].tolist() == [2, 1]
    assert table["steps"].tolist() == [2, 4]
    assert table["cumulative_share"].tolist() == pytest.approx([2 / 3, 1.0])
    assert table["median_hours"].tolist() == [28.5, 7.0]
    assert pm.case_variants(ORDERS, **NAMES)["variant_rank"].tolist() == [2, 1, 1]


def test_directly_follows() -> None:
    table = pm.directly_follows(ORDERS, **NAMES).set_index(["source", "target"])
    assert table["count"].to_dict() == {("A", "C"): 2, ("A", "B"): 1, ("B", "B"): 1, ("B", "C"): 1}
    assert table.loc[("A", "C"), "median_hours"] == 28.5
    assert table.loc[("B", "B"), "total_hours"] == 4.0


def test_activity_throughput() -> None:
    table = pm.activity_throughput(ORDERS, **NAMES).set_index("activity")
    assert table["events"].to_dict() == {"A": 3, "C": 3, "B": 2}
    assert table["cases"].to_dict() == {"A": 3, "C": 3, "B": 1}
    assert table["starts"].to_dict() == {"A": 3, "C": 0, "B": 0}
    assert table["ends"].to_dict() == {"A": 0, "C": 3, "B": 0}
    assert table["median_hours"].isna().to_dict() == {"A": True, "C": False, "B": False}
    assert table.loc["B", "mean_hours"] == 3.0
    # Monday 08:00 to the Monday after at 04:00 is 164 hours.
    assert table.loc["A", "per_week"] == pytest.approx(3 / 164 * 168)


def test_bottlenecks_rank_by_all_waiting() -> None:
    table = pm.bottlenecks(ORDERS, **NAMES)
    assert table[["source", "target"]].to_numpy().tolist() == [["A", "C"]]  # the others happened once
    assert table["share"].iloc[0] == pytest.approx(57 / 64)


def test_rework() -> None:
    table = pm.rework(ORDERS, **NAMES)
    assert table.to_dict("records") == [
        {"activity": "B", "cases": 1, "cases_with_rework": 1, "share": 1.0, "repetitions": 1}
    ]


def test_event_measures_keep_every_row_in_its_place() -> None:
    shuffled = ORDERS.sample(frac=1, random_state=5)
    measures = pm.event_measures(shuffled, **NAMES)
    assert measures.index.equals(shuffled.index)
    ordered = measures.sort_index()
    assert ordered["event_index"].tolist() == [1, 1, 2, 2, 3, 1, 4, 2]
    assert ordered["is_rework"].tolist() == [False, False, False, False, True, False, False, False]
    assert ordered["case_duration_hours"].tolist() == [7.0, 1.0, 7.0, 1.0, 7.0, 56.0, 7.0, 56.0]
    assert ordered["time_since_previous_hours"].fillna(-1).tolist() == [-1, -1, 2, 1, 4, -1, 1, 56]
    assert ordered["is_weekend"].tolist() == [False] * 8


def test_equal_times_keep_the_order_of_the_rows() -> None:
    same = log(*[("1", name, "2024-01-01") for name in "CABD"])
    assert pm.variants(same, **NAMES)["variant"].tolist() == ["C → A → B → D"]


def test_events_without_a_time_stay_behind_their_row() -> None:
    events = log(
        ("1", "C", "2024-01-03"), ("1", "D", None), ("1", "A", "2024-01-01"), ("1", "B", "not a date"), ("2", "A", None)
    )
    assert pm.variants(events, **NAMES)["variant"].tolist() == ["A → B → C → D", "A"]
    table = pm.case_durations(events, **NAMES)
    assert table["duration_hours"].iloc[0] == 48.0
    assert np.isnan(table["duration_hours"].iloc[1])
    follows = pm.directly_follows(events, **NAMES).set_index(["source", "target"])
    assert follows["median_hours"].isna().all()
    assert follows["total_hours"].eq(0).all()


def test_rows_without_case_or_activity() -> None:
    events = log(
        (None, "A", "2024-01-01"), ("1", "A", "2024-01-01"), ("1", None, "2024-01-02"), ("1", "B", "2024-01-03"),
        ("2", np.nan, "2024-01-01"),
    )  # fmt: skip
    assert pm.case_durations(events, **NAMES)["duration_hours"].tolist() == [48.0, 0.0]
    assert pm.variants(events, **NAMES)["variant"].tolist() == ["A → B", "(no activity)"]
    assert pm.activity_throughput(events, **NAMES)["events"].tolist() == [1, 1]
    measures = pm.event_measures(events, **NAMES)
    assert measures["event_index"].isna().tolist() == [True, False, False, False, False]
    assert len(measures) == 5


def test_mixed_time_zones_are_one_moment() -> None:
    events = log(
        ("1", "A", "2024-01-01T10:00:00+02:00"),
        ("1", "B", "2024-01-01T08:00:00Z"),
        ("1", "C", "2024-01-01T04:00-05:00"),
    )
    assert pm.case_durations(events, **NAMES)["duration_hours"].tolist() == [1.0]
    aware = events.assign(when=[pd.Timestamp(value) for value in events["when"]])
    assert pm.case_durations(aware, **NAMES)["duration_hours"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-01-02 03:04:05.678+01:00"], "2024-01-02T02:04:05.678Z"),
        (["2024-01-02"], "2024-01-02T00:00Z"),
        (["31/12/2023 10:00"], "2023-12-31T10:00Z"),
        (["12/31/2023 10:00 AM"], "2023-12-31T10:00Z"),
        ([1704164645], "2024-01-02T03:04:05Z"),
        ([1704164645000], "2024-01-02T03:04:05Z"),
        ([1704164645000000.0], "2024-01-02T03:04:05Z"),
        ([np.datetime64("2024-01-02T03:04:05")], "2024-01-02T03:04:05Z"),
        (["9999-12-31T00:00Z"], "9999-12-31T00:00Z"),
        (["nonsense"], None),
        ([np.nan], None),
        ([True], None),
    ],
)
def test_times_are_read_in_any_usual_form(values: list[Any], expected: str | None) -> None:
    read = pm.to_times(pd.Series(values))
    assert isinstance(read.dtype, pd.DatetimeTZDtype)
    if expected is None:
        assert read.isna().all()
    else:
        assert read.iloc[0] == pd.Timestamp(expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_empty_and_tiny_logs_keep_the_columns(function: Callable[..., pd.DataFrame]) -> None:
    full = function(ORDERS, **NAMES)
    for events in (log(), log(("1", "A", None)), log(("1", None, None)), log((None, "A", "2024-01-01"))):
        table = function(events, **NAMES)
        assert table.columns.tolist() == full.columns.tolist()
        typed = pd.DataFrame({name: pd.Series(dtype="str") for name in events.columns})
        assert function(typed, **NAMES).columns.tolist() == full.columns.tolist()
        assert function(typed, **NAMES).empty


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_frame_given_is_not_changed(function: Callable[..., pd.DataFrame]) -> None:
    before = ORDERS.copy(deep=True)
    function(ORDERS, **NAMES)
    pd.testing.assert_frame_equal(ORDERS, before)


def test_agrees_with_plain_counting_on_random_logs() -> None:
    draw = random.Random(11)
    for _ in range(25):
        rows = [
            (f"c{draw.randrange(6)}", draw.choice("ABCD"), pd.Timestamp(f"2024-01-01T0{draw.randrange(9)}:00Z"))
            for _ in range(draw.randrange(60))
        ]
        events = log(*rows)
        paths: dict[str, list[Any]] = {}
        for row in rows:
            paths.setdefault(row[0], []).append(row)
        ordered = {case: sorted(path, key=lambda row: row[2]) for case, path in paths.items()}
        pairs = Counter((one[1], two[1]) for path in ordered.values() for one, two in itertools.pairwise(path))
        table = pm.directly_follows(events, **NAMES)
        found = dict(zip(zip(table["source"], table["target"], strict=True), table["count"], strict=True))
        assert found == dict(pairs)
        repeats = sum(len(path) - len({row[1] for row in path}) for path in ordered.values())
        assert pm.rework(events, **NAMES)["repetitions"].sum() == repeats
        variants = Counter(" → ".join(row[1] for row in path) for path in ordered.values())
        listed = pm.variants(events, **NAMES)
        assert dict(zip(listed["variant"], listed["cases"], strict=True)) == dict(variants)


def test_added_columns_lose_none() -> None:
    table = pd.DataFrame({"is_weekend": ["mine", "too"], "x": [1, 2]}, index=[7, 7])
    added = pm.add_columns(table, pd.DataFrame({"is_weekend": [True, False], "y": [3, 4]}))
    assert added.columns.tolist() == ["is_weekend", "x", "is_weekend_2", "y"]
    assert added["is_weekend"].tolist() == ["mine", "too"]
    assert added["y"].tolist() == [3, 4]
    with pytest.raises(ValueError, match="do not fit"):
        pm.add_columns(table, pd.DataFrame({"y": [1]}))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["case:concept:name", "concept:name", "time:timestamp", "org:resource"], (0, 1, 2, 3)),
        (["Case ID", "Activity", "Complete Timestamp", "Resource"], (0, 1, 2, 3)),
        (["caseId", "eventName", "eventTime", "user"], (0, 1, 2, 3)),
        (["order_no", "what", "moment", "anything"], (0, 1, 2, None)),
    ],
)
def test_columns_are_detected(columns: list[str], expected: tuple[int | None, ...]) -> None:
    rows = [
        (f"k{case}", name, f"2024-01-0{case}T0{hour}:00", "r")
        for case in range(1, 9)
        for hour, name in enumerate("abc")
    ]
    found = pm.detect_columns(pd.DataFrame(rows, columns=columns))
    assert (found.case, found.activity, found.time) == tuple(
        columns[place] for place in expected[:3] if place is not None
    )
    assert found.resource == (None if expected[3] is None else columns[expected[3]])


def test_named_columns_win_and_missing_ones_are_told() -> None:
    table = pd.DataFrame({"case_id": ["1"], "other": ["2"], "activity": ["A"]})
    found = pm.detect_columns(table, case="other")
    assert (found.case, found.activity) == ("other", "activity")
    assert found.missing() == ["time"]
    assert pm.detect_columns(pd.DataFrame()).missing() == ["case", "activity", "time"]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", "2024-01-01", "2025-01-01"),
        ("2024-01", "2024-01-01", "2024-02-01"),
        ("2024-Q4", "2024-10-01", "2025-01-01"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
        ("2023-11..2024-01", "2023-11-01", "2024-02-01"),
        ("2024-01-01/2024-01-31", "2024-01-01", "2024-02-01"),
        ("2023 to 2024", "2023-01-01", "2025-01-01"),
    ],
)
def test_periods(text: str, start: str, end: str) -> None:
    window = pm.period_window(text)
    assert (window.start, window.end) == (pd.Timestamp(start, tz="UTC"), pd.Timestamp(end, tz="UTC"))


@pytest.mark.parametrize("text", ["January", "2024-13", "2023-02-29", "2024..2023", "1..2..3", "99999", "2024-01; x"])
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no period|ends before it begins"):
        pm.period_window(text)


@pytest.mark.parametrize(
    ("text", "start"),
    [("30_days", "2024-03-01"), ("2 weeks", "2024-03-17"), ("1_month", "2024-02-29"), ("last_1_year", "2023-03-31"),
     ("2quarters", "2023-09-30"), ("24_hours", "2024-03-30")],
)  # fmt: skip
def test_time_windows(text: str, start: str) -> None:
    assert pm.last_window(text, pd.Timestamp("2024-03-31", tz="UTC")).start == pd.Timestamp(start, tz="UTC")


@pytest.mark.parametrize("text", ["soon", "30", "999999_years", "-3_days"])
def test_what_is_no_time_window(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time window|too far"):
        pm.last_window(text, pd.Timestamp("2024-03-31", tz="UTC"))


def test_selected_cases_stay_whole() -> None:
    keys = {"case": "case", "time": "when"}
    chosen = pm.select_cases(ORDERS, analysis_period="2024-01-08", **keys)
    assert chosen.events["case"].unique().tolist() == ["3"]
    assert len(chosen.events) == 2
    assert chosen.narrowed
    assert chosen.notes == ("analysis_period '2024-01-08' keeps 1 of 3 cases (those with an event in that time).",)
    last = pm.select_cases(ORDERS, time_window="1_day", **keys)
    assert last.events["case"].unique().tolist() == ["3"]


@pytest.mark.parametrize(
    ("filters", "note"),
    [
        ({"analysis_period": "2030"}, "left no case; the whole log is analysed instead"),
        ({"analysis_period": "whenever"}, "was not applied: 'whenever' is no period"),
        ({"time_window": "soon"}, "was not applied: 'soon' is no time window"),
    ],
)
def test_a_filter_that_cannot_be_kept_is_told(filters: dict[str, str], note: str) -> None:
    chosen = pm.select_cases(ORDERS, case="case", time="when", **filters)
    assert len(chosen.events) == len(ORDERS)
    assert not chosen.narrowed
    assert note in chosen.notes[0]


def test_filters_on_a_log_without_times() -> None:
    chosen = pm.select_cases(log(("1", "A", None)), analysis_period="2024", case="case", time="when")
    assert chosen.notes == ("analysis_period '2024' was not applied: the log has no times.",)
    assert pm.select_cases(log(), time_window="", case="case", time="when").notes == ()


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0, "0 seconds"), (1 / 3600, "1 seconds"), (1 / 60, "1 minute"), (1.5, "90 minutes"), (4.2, "4.2 hours"),
     (47, "47 hours"), (48, "2 days"), (24 * 800, "2.2 years"), (float("nan"), "unknown"), (None, "unknown")],
)  # fmt: skip
def test_durations_in_words(hours: float | None, text: str) -> None:
    assert pm.human_hours(hours) == text
