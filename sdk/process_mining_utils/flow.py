"""Flow measures: what follows what, how long each activity and hand-over takes, and what is done twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from process_mining_utils.columns import ACTIVITY, CASE, TIME
from process_mining_utils.sequence import EventSequence, read_sequence

HOURS_A_WEEK = 7 * 24.0
MIN_BOTTLENECK_SHARE = 0.01  # of the cases: a hand-over that happens less often is an incident, not a bottleneck


def directly_follows(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True
) -> pd.DataFrame:
    """How often one activity directly follows another within a case, most frequent first.

    Columns: `source`, `target`, `count`, `cases`, `median_hours`, `mean_hours`, `p90_hours`, `total_hours` (between the
    two; over the pairs where both times are known).
    """
    steps = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends).steps()
    return _pairs(steps)


def bottlenecks(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True
) -> pd.DataFrame:
    """The hand-overs where cases wait longest in all, worst first.

    The columns of `directly_follows` and `share` (0 to 1, of all time spent between steps). Hand-overs that occur only
    once, or in less than 1 % of the cases, are left out.
    """
    steps = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends).steps()
    pairs = _pairs(steps)
    whole = float(pairs["total_hours"].sum())
    pairs["share"] = pairs["total_hours"] / whole if whole > 0 else 0.0
    frequent = (pairs["count"] >= 2) & (pairs["cases"] >= MIN_BOTTLENECK_SHARE * len(steps.cases))
    waits = pairs[frequent & (pairs["total_hours"] > 0)]
    return waits.sort_values("total_hours", ascending=False, kind="stable").reset_index(drop=True)


def activity_throughput(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True
) -> pd.DataFrame:
    """How often each activity happens and how long cases take to get to it, most frequent first.

    Columns: `activity`, `events`, `cases`, `case_share` (0 to 1), `per_week` (events a week over the whole log;
    NaN for a log shorter than an hour), `starts`, `ends` (cases that begin or end with it), and the sojourn: hours from
    the step before to this one as `median_hours`, `mean_hours`, `p90_hours`, `total_hours`.
    """
    steps = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends).steps()
    first = ~steps.same_case_as_previous()
    last = np.append(first[1:], True)[: len(first)]
    events = pd.DataFrame(
        {
            "activity": steps.activity,
            "case": steps.case,
            "hours": steps.hours_since_previous(),
            "first": first,
            "last": last,
        }
    )
    grouped = events.groupby("activity")
    span = steps.times.max() - steps.times.min() if len(steps.times) else pd.NaT
    span_hours = span / pd.Timedelta(hours=1) if span is not pd.NaT else 0.0
    counts = grouped.size().astype("int64")
    table = pd.DataFrame(
        {
            "activity": steps.activities[counts.index],
            "events": counts,
            "cases": grouped["case"].nunique().astype("int64"),
            "case_share": grouped["case"].nunique() / max(1, len(steps.cases)),
            "per_week": counts / span_hours * HOURS_A_WEEK if span_hours >= 1 else np.nan,
            "starts": grouped["first"].sum().astype("int64"),
            "ends": grouped["last"].sum().astype("int64"),
            **_spread(grouped["hours"]),
        }
    )
    return table.sort_values("events", ascending=False, kind="stable").reset_index(drop=True)


def rework(df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME) -> pd.DataFrame:
    """The activities that some case does more than once, most repetitions first.

    Columns: `activity`, `cases` (that do it), `cases_with_rework`, `share` (0 to 1, of those), `repetitions` (events
    beyond each case's first). Empty when nothing is repeated.
    """
    steps = read_sequence(df, case=case, activity=activity, time=time).steps()
    per_case = pd.DataFrame({"activity": steps.activity, "case": steps.case}).value_counts().rename("n").reset_index()
    per_case["repeated"] = per_case["n"] > 1
    grouped = per_case.groupby("activity")
    cases = grouped.size().astype("int64")
    repeated = grouped["repeated"].sum().astype("int64")
    table = pd.DataFrame(
        {
            "activity": steps.activities[cases.index],
            "cases": cases,
            "cases_with_rework": repeated,
            "share": repeated / cases,
            "repetitions": grouped["n"].sum().astype("int64") - cases,
        }
    )
    table = table[table["repetitions"] > 0]
    return table.sort_values("repetitions", ascending=False, kind="stable").reset_index(drop=True)


def _pairs(steps: EventSequence) -> pd.DataFrame:
    follows = np.flatnonzero(steps.same_case_as_previous())
    pairs = pd.DataFrame(
        {
            "source": steps.activity[follows - 1],
            "target": steps.activity[follows],
            "case": steps.case[follows],
            "hours": steps.hours_since_previous()[follows],
        }
    )
    # In order of first appearance, so that equally frequent pairs come in a stable order.
    grouped = pairs.groupby(["source", "target"], sort=False)
    counts = grouped.size().astype("int64")
    table = pd.DataFrame(
        {
            "source": steps.activities[counts.index.get_level_values("source").astype("int64")],
            "target": steps.activities[counts.index.get_level_values("target").astype("int64")],
            "count": counts,
            "cases": grouped["case"].nunique().astype("int64"),
            **_spread(grouped["hours"]),
        }
    )
    return table.sort_values("count", ascending=False, kind="stable").reset_index(drop=True)


def _spread(hours: Any) -> dict[str, pd.Series[Any]]:
    return {
        "median_hours": hours.median(),
        "mean_hours": hours.mean(),
        "p90_hours": hours.quantile(0.9),
        "total_hours": hours.sum(),
    }
