"""Numbers about cases that models learn from, and a split by time that keeps the score honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.typing import NaTType

from process_mining_utils.cases import case_durations, case_variants
from process_mining_utils.columns import ACTIVITY, CASE, RESOURCE, TIME
from process_mining_utils.sequence import read_sequence
from process_mining_utils.times import is_weekend

WORKLOAD_HOURS = 7 * 24.0  # events of the last week stand for how busy the process is


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyCases:
    """What is known about each case at the moment of its n-th event, and what came after; same index in all."""

    features: pd.DataFrame  # known at that moment: nothing in here looks ahead
    moment: pd.Series[Any]  # time of the n-th event
    end: pd.Series[Any]  # time of the last event
    remaining_hours: pd.Series[Any]  # from that moment to the last event


@dataclass(frozen=True, kw_only=True, slots=True)
class TemporalSplit:
    """Which cases a model may learn from and which it is tested on."""

    train: pd.Index[Any]
    test: pd.Index[Any]
    moment: pd.Timestamp | NaTType  # the past before it is known, nothing after it; NaT without cases
    dropped: int  # cases begun before the moment whose outcome was not known then: in neither part


def case_features(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True
) -> pd.DataFrame:
    """Numbers that describe each whole case (index: case id), made for finding unusual ones.

    `duration_hours`, `events`, `activities` (different ones), `repetitions`, `longest_wait_hours`, `variant_share` (how
    common its path is, 0 to 1) and `weekend_events`. Unknown durations count as 0.
    """
    sequence = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends)
    names = {"case": case, "activity": activity, "time": time}
    durations = case_durations(df, **names, include_weekends=include_weekends)
    ranks = case_variants(df, **names)["variant_rank"]
    events = pd.DataFrame(
        {
            "case": sequence.case,
            "activity": np.where(sequence.activity >= 0, sequence.activity, np.nan),
            "repeat": sequence.is_repeat(),
            "wait": sequence.hours_since_previous(),
            "weekend": is_weekend(sequence.times).to_numpy(),
        }
    ).groupby("case")
    return pd.DataFrame(
        {
            "duration_hours": durations["duration_hours"].fillna(0.0),
            "events": durations["events"],
            "activities": events["activity"].nunique(),
            "repetitions": events["repeat"].sum(),
            "longest_wait_hours": events["wait"].max().fillna(0.0),
            "variant_share": ranks.map(ranks.value_counts(normalize=True)),
            "weekend_events": events["weekend"].sum(),
        }
    ).set_axis(pd.Index(durations["case"], name="case"), axis="index")


def early_cases(
    df: pd.DataFrame, *, events: int = 2, case: str = CASE, activity: str = ACTIVITY, time: str = TIME,
    resource: str = RESOURCE,
) -> EarlyCases:  # fmt: skip
    """Describes every case that has at least so many events, at the moment of the last of them.

    Features: the activity and resource of each of the first events, the hours between them, weekday and hour of the
    moment, and how many events the whole log had in the week before. Attributes of the case are left out on purpose: a
    log shows their final values, which may not have been known so early. Cases without a time at that event are left
    out. Raises ValueError for `events` below 1.
    """
    if events < 1:
        raise ValueError("early_cases needs at least the first event of each case")
    sequence = read_sequence(df, case=case, activity=activity, time=time)
    index = sequence.index_in_case()
    at = np.flatnonzero((index == events - 1) & ~np.isnan(sequence.hours))
    resources = df[resource].to_numpy(dtype=object) if resource in df.columns else np.full(len(df), None, dtype=object)
    labels = sequence.activities.to_numpy(dtype=object)
    features: dict[str, Any] = {}
    for number in range(1, events + 1):
        row = at - (events - number)
        codes = sequence.activity[row]
        features[f"activity_{number}"] = [labels[code] if code >= 0 else None for code in codes]
        features[f"resource_{number}"] = resources[sequence.position[row]]
        if number > 1:
            features[f"wait_{number}_hours"] = np.nan_to_num(sequence.hours[row] - sequence.hours[row - 1])
    moment = sequence.times.iloc[at]
    features["weekday"] = moment.dt.day_of_week.to_numpy()
    features["hour"] = moment.dt.hour.to_numpy()
    clock = np.sort(sequence.hours[~np.isnan(sequence.hours)])
    features["events_last_week"] = np.searchsorted(clock, sequence.hours[at]) - np.searchsorted(
        clock, sequence.hours[at] - WORKLOAD_HOURS
    )
    last = pd.Series(sequence.hours).groupby(sequence.case).max().to_numpy()
    ends = sequence.times.groupby(sequence.case).max()
    ids = pd.Index(sequence.cases[sequence.case[at]], name="case")
    return EarlyCases(
        features=pd.DataFrame(features, index=ids),
        moment=moment.set_axis(ids),
        end=ends.iloc[sequence.case[at]].set_axis(ids),
        remaining_hours=pd.Series(last[sequence.case[at]] - sequence.hours[at], index=ids),
    )


def temporal_split(cases: EarlyCases, test_share: float = 0.3) -> TemporalSplit:
    """Splits by time: the latest `test_share` of the cases are for the test.

    A case whose end lies after the split is not learned from either, as nobody knew its outcome then.
    """
    order = cases.moment.sort_values(kind="stable")
    if order.empty:
        return TemporalSplit(train=order.index, test=order.index, moment=pd.NaT, dropped=0)
    moment = order.iloc[min(len(order) - 1, int(len(order) * (1 - test_share)))]
    test = order.index[order >= moment]
    before = order.index[order < moment]
    train = before[(cases.end[before] < moment).to_numpy()]
    return TemporalSplit(train=train, test=test, moment=moment, dropped=len(before) - len(train))


def one_hot(features: pd.DataFrame, like: pd.DataFrame | None = None, min_cases: int = 5) -> pd.DataFrame:
    """Text columns as 0/1 columns named `column=value`, for values in at least `min_cases` rows; numbers stay.

    With `like` (the coded training features) exactly its columns come out, so that a test teaches nothing.
    """
    text = [column for column in features.columns if not pd.api.types.is_numeric_dtype(features[column])]
    coded = pd.get_dummies(features, columns=text, prefix_sep="=", dtype="int8") if text else features
    if like is not None:
        return coded.reindex(columns=like.columns, fill_value=0)
    flags = [column for column in coded.columns if column not in features.columns]
    return coded.drop(columns=[column for column in flags if coded[column].sum() < min_cases])
