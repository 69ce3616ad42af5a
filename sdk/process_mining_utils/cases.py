"""Case-level measures: how long each case takes, and which path it follows (its variant)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from process_mining_utils.columns import ACTIVITY, CASE, TIME
from process_mining_utils.sequence import EventSequence, read_sequence

ARROW = " → "
NO_ACTIVITY = "(no activity)"


def case_durations(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True
) -> pd.DataFrame:
    """One row a case, in order of first appearance: `case`, `start`, `end`, `events`, `duration_hours`.

    A case with one event lasts 0 hours; one without any time has no start and no duration. Without weekends, Saturdays
    and Sundays (UTC) are not counted.
    """
    sequence = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends)
    hours = pd.Series(sequence.hours).groupby(sequence.case)
    times = sequence.times.groupby(sequence.case)
    return pd.DataFrame(
        {
            "case": pd.Series(sequence.cases),
            "start": times.min(),
            "end": times.max(),
            "events": times.size().astype("int64"),
            "duration_hours": (hours.max() - hours.min()).astype("float64"),
        }
    )


def case_variants(df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME) -> pd.DataFrame:
    """One row a case, in order of first appearance: `case`, `variant_rank` (1 = most frequent), `variant`."""
    sequence = read_sequence(df, case=case, activity=activity, time=time)
    numbers, paths = _variants(sequence)
    return pd.DataFrame(
        {
            "case": pd.Series(sequence.cases),
            "variant_rank": numbers + 1,
            "variant": pd.Series([_label(paths[number], sequence) for number in numbers], dtype="str"),
        }
    )


def variants(
    df: pd.DataFrame, *, case: str = CASE, activity: str = ACTIVITY, time: str = TIME, include_weekends: bool = True
) -> pd.DataFrame:
    """The paths through the process, most frequent first; equally frequent ones in order of first appearance.

    Columns: `variant_rank`, `variant` (activities joined by arrows), `steps`, `cases`, `share`, `cumulative_share`
    (0 to 1), `median_hours`.
    """
    sequence = read_sequence(df, case=case, activity=activity, time=time, include_weekends=include_weekends)
    numbers, paths = _variants(sequence)
    durations = pd.Series(sequence.hours).groupby(sequence.case).agg(["min", "max"])
    by_variant = (durations["max"] - durations["min"]).groupby(numbers)
    cases = by_variant.size().astype("int64")
    share = cases / max(1, len(sequence.cases))
    return pd.DataFrame(
        {
            "variant_rank": np.arange(1, len(paths) + 1),
            "variant": pd.Series([_label(path, sequence) for path in paths], dtype="str"),
            "steps": pd.Series([len(path) for path in paths], dtype="int64"),
            "cases": cases,
            "share": share,
            "cumulative_share": share.cumsum(),
            "median_hours": by_variant.median().astype("float64"),
        }
    )


def _variants(sequence: EventSequence) -> tuple[np.ndarray[Any, Any], list[list[int]]]:
    """The variant number of each case, and the path of each variant, both by falling frequency."""
    steps = sequence.steps()
    bounds = np.searchsorted(steps.case, np.arange(len(sequence.cases) + 1))
    codes = steps.activity.astype("int64")
    keys = [codes[start:end].tobytes() for start, end in pairwise(bounds)]
    numbers, distinct = pd.factorize(np.array(keys, dtype=object))
    ranked = np.argsort(-np.bincount(numbers, minlength=len(distinct)), kind="stable")
    rank = np.empty_like(ranked)
    rank[ranked] = np.arange(len(ranked))
    paths = [np.frombuffer(distinct[number], dtype="int64").tolist() for number in ranked]
    return rank[numbers], paths


def _label(path: list[int], sequence: EventSequence) -> str:
    return ARROW.join(str(sequence.activities[code]) for code in path) or NO_ACTIVITY
