"""Features know nothing of the future, and the split by time keeps it so."""

from __future__ import annotations

import pandas as pd
import process_mining_utils as pm
import pytest


def cases_log(count: int, *, hours: int = 5) -> pd.DataFrame:
    """One case a day, each of three events; every tenth lasts 30 days."""
    rows = []
    for number in range(count):
        start = pd.Timestamp("2024-01-01T09:00", tz="UTC") + pd.Timedelta(days=number)
        last = pd.Timedelta(days=30) if number % 10 == 9 else pd.Timedelta(hours=hours)
        for activity, time in (("A", start), ("B", start + pd.Timedelta(hours=1)), ("C", start + last)):
            rows.append((f"c{number}", activity, time, "anna" if number % 2 else "bob"))
    return pd.DataFrame(rows, columns=[pm.CASE, pm.ACTIVITY, pm.TIME, pm.RESOURCE])


def test_early_cases() -> None:
    early = pm.early_cases(cases_log(20), events=2)
    assert early.features.columns.tolist() == [
        "activity_1", "resource_1", "activity_2", "resource_2", "wait_2_hours", "weekday", "hour", "events_last_week",
    ]  # fmt: skip
    first = early.features.iloc[0]
    assert first[["activity_1", "resource_1", "activity_2", "wait_2_hours"]].tolist() == ["A", "bob", "B", 1.0]
    assert (first["weekday"], first["hour"]) == (0, 10)
    assert early.remaining_hours.loc["c0"] == 4.0
    assert early.remaining_hours.loc["c9"] == 30 * 24 - 1


def test_features_do_not_change_when_the_future_does() -> None:
    log = cases_log(40)
    for events in (1, 2):
        known = pm.early_cases(log, events=events)
        for cut in (pd.Timestamp("2024-01-15T12:00", tz="UTC"), pd.Timestamp("2024-02-01T09:30", tz="UTC")):
            past = pm.early_cases(log[log[pm.TIME] <= cut], events=events)
            same = known.features.loc[past.features.index]
            pd.testing.assert_frame_equal(past.features, same, check_dtype=False)
            assert len(past.features) < len(known.features)


def test_short_cases_and_missing_times_are_left_out() -> None:
    log = cases_log(3)
    log = log[~((log[pm.CASE] == "c1") & (log[pm.ACTIVITY] != "A"))].reset_index(drop=True)
    log.loc[(log[pm.CASE] == "c2") & (log[pm.ACTIVITY] == "B"), pm.TIME] = pd.NaT
    assert pm.early_cases(log, events=2).features.index.tolist() == ["c0"]
    assert pm.early_cases(log.head(0), events=2).features.empty
    with pytest.raises(ValueError, match="at least the first event"):
        pm.early_cases(log, events=0)


def test_the_split_learns_only_from_outcomes_known_by_then() -> None:
    early = pm.early_cases(cases_log(100), events=1)
    split = pm.temporal_split(early)
    assert len(split.test) == 30
    assert not set(split.train) & set(split.test)
    assert early.end[split.train].max() < split.moment
    assert early.moment[split.test].min() >= split.moment
    assert split.dropped == 3  # the long cases begun in the 30 days before
    assert len(split.train) + len(split.test) + split.dropped == 100


def test_splitting_nothing() -> None:
    split = pm.temporal_split(pm.early_cases(cases_log(0), events=1))
    assert (len(split.train), len(split.test), split.dropped) == (0, 0, 0)
    assert split.moment is pd.NaT


def test_coding_takes_nothing_from_the_test_rows() -> None:
    train = pd.DataFrame({"who": ["a"] * 6 + ["b"] * 6 + ["rare"], "n": range(13)})
    coded = pm.one_hot(train)
    assert coded.columns.tolist() == ["n", "who=a", "who=b"]
    other = pm.one_hot(pd.DataFrame({"who": ["b", "new", None], "n": [1, 2, 3]}), like=coded)
    assert other.columns.tolist() == coded.columns.tolist()
    assert other[["who=a", "who=b"]].to_numpy().tolist() == [[0, 1], [0, 0], [0, 0]]


def test_case_features_describe_whole_cases() -> None:
    log = cases_log(2)
    log = pd.concat([log, log.tail(1).assign(**{pm.TIME: pd.Timestamp("2024-01-06T09:00", tz="UTC")})])
    table = pm.case_features(log.reset_index(drop=True))
    assert table.loc["c1", "repetitions"] == 1
    assert table.loc["c1", "weekend_events"] == 1
    assert table.loc["c0", "longest_wait_hours"] == 4.0
    assert table["variant_share"].tolist() == [0.5, 0.5]
