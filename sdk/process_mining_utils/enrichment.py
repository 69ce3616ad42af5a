"""Event-level columns that an analysis adds to a log, and a way to add them that loses nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from process_mining_utils.cases import case_durations, case_variants
from process_mining_utils.columns import ACTIVITY, CASE, RESOURCE, TIME, LogColumns
from process_mining_utils.sequence import read_sequence
from process_mining_utils.times import is_weekend, to_times


def event_log(df: pd.DataFrame, columns: LogColumns) -> pd.DataFrame:
    """The same rows with the XES names and nothing else: case, activity, time (UTC) and resource, index 0, 1, 2, …

    A column that the log does not have is there and empty, so that every measure works and finds nothing.
    """
    table = pd.DataFrame(index=pd.RangeIndex(len(df)))
    for name, column in ((CASE, columns.case), (ACTIVITY, columns.activity), (RESOURCE, columns.resource)):
        if column is None:
            table[name] = pd.Series([None] * len(df), dtype=object)
        else:
            table[name] = df[column].array
    times = pd.Series(pd.NaT, index=table.index) if columns.time is None else df[columns.time].reset_index(drop=True)
    table[TIME] = to_times(times)
    return table


def event_measures(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True
) -> pd.DataFrame:
    """One row for each row of the frame, in its order: what each event means within its case.

    `event_index` (1 = first of its case), `time_since_previous_hours`, `case_duration_hours`, `case_events`,
    `variant_rank` (1 = most frequent path), `is_rework` (the activity happened in this case before) and `is_weekend`.
    Rows without a case id have missing values.
    """
    sequence = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends)
    names = {"case": case, "activity": activity, "time": time}
    durations = case_durations(df, **names, include_weekends=include_weekends)
    ranks = case_variants(df, **names)["variant_rank"]
    ordered = pd.DataFrame(
        {
            "event_index": pd.array(sequence.index_in_case() + 1, dtype="Int64"),
            "time_since_previous_hours": sequence.hours_since_previous(),
            "case_duration_hours": durations["duration_hours"].to_numpy()[sequence.case],
            "case_events": pd.array(durations["events"].to_numpy()[sequence.case], dtype="Int64"),
            "variant_rank": pd.array(ranks.to_numpy()[sequence.case], dtype="Int64"),
            "is_rework": pd.array(sequence.is_repeat(), dtype="boolean"),
        },
        index=sequence.position,
    )
    measures = ordered.reindex(np.arange(len(df)))
    measures["is_weekend"] = is_weekend(to_times(df[time])).to_numpy()
    return measures.set_axis(df.index, axis="index")


def add_columns(df: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Returns all rows and columns of `df` with those of `new` after them, row by row.

    A new column whose name is taken gets the next free number (`is_weekend_2`), so that no column is lost. Raises
    ValueError when the frames differ in length.
    """
    if len(df) != len(new):
        raise ValueError(f"{len(new):,} rows of new columns do not fit a table of {len(df):,} rows")
    taken = {str(column) for column in df.columns}
    added: dict[str, Any] = {}
    for column in new.columns:
        name, number = str(column), 2
        while name in taken:
            name, number = f"{column}_{number}", number + 1
        taken.add(name)
        added[name] = new[column].array
    return pd.concat([df, pd.DataFrame(added, index=df.index)], axis="columns")
