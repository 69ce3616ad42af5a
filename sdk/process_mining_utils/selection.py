"""Chooses the cases of a period or of the last days of a log, and says in words what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from process_mining_utils.columns import CASE, TIME
from process_mining_utils.times import to_times

_POINT = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(\d{1,2})(?:-(\d{1,2}))?))?", re.IGNORECASE)
_LAST = re.compile(r"(?:last[ _-])?(\d{1,6})[ _-]?(hour|day|week|month|quarter|year)s?", re.IGNORECASE)
_EVERYTHING = {"", "all", "full", "none"}


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time in UTC; the end is not part of it."""

    start: pd.Timestamp
    end: pd.Timestamp


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The rows of the chosen cases, and what was done to get them."""

    events: pd.DataFrame
    notes: tuple[str, ...]  # one sentence for each filter that was asked for
    narrowed: bool  # False where no filter was asked for or none could be applied


def period_window(text: str) -> Window:
    """Reads `2024`, `2024-Q1`, `2024-01`, `2024-01-15`, or two of them with `..`, `/` or ` to ` between, both included.

    Raises ValueError for anything else.
    """
    parts = re.split(r"\s*(?:\.\.|/|\s+to\s+)\s*", text.strip())
    if len(parts) > 2:
        raise ValueError(_not_a_period(text))
    windows = [_point_window(part, text) for part in parts]
    window = Window(windows[0].start, windows[-1].end)
    if window.start >= window.end:
        raise ValueError(f"{text!r} ends before it begins")
    return window


def last_window(text: str, latest: pd.Timestamp) -> Window:
    """Reads `30_days`, `12 weeks`, `6_months` and the like as the time that ends with `latest`, which is included.

    Raises ValueError for anything else.
    """
    match = _LAST.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time window: write 30_days, 12_weeks, 6_months, 1_year or all")
    amount, unit = int(match[1]), match[2].lower()
    if unit == "quarter":
        amount, unit = 3 * amount, "month"
    try:
        start = latest - _offset(f"{unit}s", amount)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{text!r} reaches back too far: write all for the whole log") from error
    return Window(start, latest + pd.Timedelta(microseconds=1))


def cases_active_in(df: pd.DataFrame, window: Window, *, case: str = CASE, time: str = TIME) -> pd.DataFrame:
    """All rows of the cases with at least one event in the window: cases stay whole, so that durations stay true."""
    times = to_times(df[time])
    active = df.loc[(times >= window.start) & (times < window.end), case].dropna().unique()
    return df[df[case].isin(active)]


def select_cases(
    df: pd.DataFrame, *, analysis_period: str | None = "", time_window: str | None = "", case: str = CASE,
    time: str = TIME,
) -> Selection:  # fmt: skip
    """Keeps the cases active in the period and in the last part of the log (counted back from its last event).

    A filter that is not understood or would leave nothing is not applied. Every filter asked for gets a note.
    """
    latest = to_times(df[time]).max()
    filters: list[tuple[str, str, Callable[[str], Window]]] = [
        ("analysis_period", (analysis_period or "").strip(), period_window),
        ("time_window", (time_window or "").strip(), lambda text: last_window(text, latest)),
    ]
    kept, notes, narrowed = df, [], False
    for name, text, read in filters:
        if text.lower() in _EVERYTHING:
            continue
        if latest is pd.NaT:
            notes.append(f"{name} {text!r} was not applied: the log has no times.")
            continue
        try:
            chosen = cases_active_in(kept, read(text), case=case, time=time)
        except ValueError as error:
            notes.append(f"{name} was not applied: {error}.")
            continue
        if chosen.empty:
            used = "the cases selected so far are" if narrowed else "the whole log is"
            notes.append(f"{name} {text!r} left no case; {used} analysed instead.")
            continue
        notes.append(
            f"{name} {text!r} keeps {chosen[case].nunique():,} of {kept[case].nunique():,} cases"
            " (those with an event in that time)."
        )
        kept, narrowed = chosen, True
    return Selection(events=kept, notes=tuple(notes), narrowed=narrowed)


def _offset(unit: str, amount: int) -> Any:
    return pd.DateOffset(**{unit: amount})  # type: ignore[arg-type]  # the stubs take any keyword for `normalize`


def _point_window(part: str, text: str) -> Window:
    match = _POINT.fullmatch(part)
    if match is None:
        raise ValueError(_not_a_period(text))
    year, quarter, month, day = match.groups()
    first_month = 3 * int(quarter) - 2 if quarter else int(month or 1)
    try:
        start = pd.Timestamp(year=int(year), month=first_month, day=int(day or 1), tz="UTC")
        step = ("days", 1) if day else ("months", 1) if month else ("months", 3) if quarter else ("years", 1)
        return Window(start, start + _offset(*step))
    except ValueError as error:
        raise ValueError(_not_a_period(text)) from error


def _not_a_period(text: str) -> str:
    return f"{text!r} is no period: write 2024, 2024-Q1, 2024-01, 2024-01-15 or a range such as 2024-01..2024-03"
