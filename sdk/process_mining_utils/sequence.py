"""Puts the events of a log in order, once, as plain arrays that every measure works on.

An event without a case id belongs to no case and is left out. Events of a case are ordered by time; equal times keep
the order of the rows, and an event without a time stays behind the row before it. An event without an activity counts
for the duration of its case but is no step of its path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from process_mining_utils.times import elapsed_hours, to_times


@dataclass(frozen=True, kw_only=True, slots=True)
class EventSequence:
    """The events of a log, case after case, each case in time order."""

    position: NDArray[np.int64]  # the row of each event in the frame it came from
    case: NDArray[np.int64]  # index into `cases`, ascending
    cases: pd.Index[Any]  # case ids in order of first appearance
    activity: NDArray[np.int64]  # index into `activities`, -1 where the event has none
    activities: pd.Index[Any]
    hours: NDArray[np.float64]  # clock of each event, NaN where it has no time
    times: pd.Series[Any]  # the same as UTC timestamps

    def steps(self) -> EventSequence:
        """Only the events that have an activity."""
        keep = self.activity >= 0
        return EventSequence(
            position=self.position[keep],
            case=self.case[keep],
            cases=self.cases,
            activity=self.activity[keep],
            activities=self.activities,
            hours=self.hours[keep],
            times=self.times[keep].reset_index(drop=True),
        )

    def same_case_as_previous(self) -> NDArray[np.bool_]:
        """True for every event that is not the first of its case."""
        same = np.zeros(len(self.case), dtype=bool)
        same[1:] = self.case[1:] == self.case[:-1]
        return same

    def hours_since_previous(self) -> NDArray[np.float64]:
        """Hours since the event before it in the case; NaN for a first event and where a time is missing."""
        gaps = np.full(len(self.hours), np.nan)
        gaps[1:] = np.diff(self.hours)
        gaps[~self.same_case_as_previous()] = np.nan
        return gaps

    def index_in_case(self) -> NDArray[np.int64]:
        """0 for the first event of a case, 1 for the second, and so on."""
        count = np.arange(len(self.case))
        first = count[~self.same_case_as_previous()]
        return count - np.repeat(first, np.diff(np.append(first, len(self.case))))

    def is_repeat(self) -> NDArray[np.bool_]:
        """True for every event whose activity happened in its case before."""
        pairs = pd.DataFrame({"case": self.case, "activity": self.activity})
        return (pairs.duplicated() & (pairs["activity"] >= 0)).to_numpy()


def read_sequence(
    df: pd.DataFrame, *, case: str, activity: str, time: str, include_weekends: bool = True
) -> EventSequence:
    """Orders the events of a frame. Raises KeyError when a column is missing."""
    case_codes, cases = pd.factorize(df[case])
    activity_codes, activities = pd.factorize(df[activity])
    times = to_times(df[time]).reset_index(drop=True)
    known = times.groupby(case_codes).ffill()
    known = known.groupby(case_codes).bfill()
    # NaT sorts first as the smallest integer, which keeps the row order of a case without any time.
    order = np.lexsort((known.to_numpy(dtype="datetime64[us]").astype("int64"), case_codes))
    order = order[case_codes[order] >= 0]
    ordered_times = times.iloc[order].reset_index(drop=True)
    return EventSequence(
        position=order,
        case=case_codes[order],
        cases=pd.Index(cases),
        activity=activity_codes[order],
        activities=pd.Index(activities),
        hours=elapsed_hours(ordered_times, include_weekends=include_weekends),
        times=ordered_times,
    )
