"""Reads times in any usual form as UTC, and measures time with or without weekends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HOURS_A_DAY = 24.0
FIRST_MONDAY = np.datetime64("1970-01-05", "us")
# The magnitude of a count since 1970 tells its unit: each holds for times from 1973 to 5138.
_EPOCH_UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))


def to_times(values: pd.Series[Any]) -> pd.Series[Any]:
    """Returns the values as UTC timestamps, NaT where there is none or it cannot be read.

    Takes timestamps, text (ISO 8601 first, then the usual national forms, day first where a first number over 12 shows
    it), mixed time zones, and numbers (seconds, milliseconds, microseconds or nanoseconds since 1970). A time without
    a zone is taken as UTC.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        converted: pd.Series[Any] = values.dt.tz_convert("UTC")
        return converted
    if pd.api.types.is_datetime64_any_dtype(values):
        localized: pd.Series[Any] = values.dt.tz_localize("UTC")
        return localized
    if pd.api.types.is_bool_dtype(values):
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us, UTC]", name=values.name)
    if pd.api.types.is_numeric_dtype(values):
        return _from_numbers(values)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    times = pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
    unread = times.isna() & values.notna()
    if unread.any():
        text = values[unread].astype(str)
        day_first = bool(text.str.match(r"\s*(1[3-9]|2\d|3[01])[./-]").any())
        read = pd.to_datetime(text, utc=True, format="mixed", dayfirst=day_first, errors="coerce")
        times = times.where(~unread, read.reindex(times.index))
    return times


def elapsed_hours(times: pd.Series[Any], *, include_weekends: bool = True) -> NDArray[np.float64]:
    """Returns the position of each time on a clock that counts hours; NaN where the time is missing.

    Only differences mean something. Without weekends the clock stands still from Saturday 00:00 to Monday 00:00 UTC.
    """
    stamps = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    missing = np.isnat(stamps)
    hours = np.where(missing, np.timedelta64(0, "us"), stamps - FIRST_MONDAY) / np.timedelta64(1, "h")
    if not include_weekends:
        weeks, within = np.divmod(hours, 7 * HOURS_A_DAY)
        hours = weeks * 5 * HOURS_A_DAY + np.minimum(within, 5 * HOURS_A_DAY)
    return np.where(missing, np.nan, hours)


def is_weekend(times: pd.Series[Any]) -> pd.Series[Any]:
    """True for times on a Saturday or Sunday (UTC); False where the time is missing."""
    weekend: pd.Series[Any] = times.dt.day_of_week >= 5
    return weekend


def human_hours(hours: float | None) -> str:
    """Returns a duration as people say it, for example `4.2 hours`, `35 minutes`, `12 days`; `unknown` for NaN."""
    if hours is None or np.isnan(hours):
        return "unknown"
    for size, unit in ((HOURS_A_DAY * 365.25, "years"), (HOURS_A_DAY, "days"), (1.0, "hours"), (1 / 60, "minutes")):
        if abs(hours) >= (2 * size if unit != "minutes" else size):
            amount = hours / size
            text = f"{amount:.0f}" if abs(amount) >= 10 else f"{amount:.1f}".removesuffix(".0")
            return f"{text} {unit[:-1] if text == '1' else unit}"
    return f"{hours * 3600:.0f} seconds"


def _from_numbers(values: pd.Series[Any]) -> pd.Series[Any]:
    numbers = pd.to_numeric(values).astype("float64")
    finite = numbers[np.isfinite(numbers)]
    magnitude = float(finite.abs().median()) if len(finite) else 0.0
    unit: Any = next(unit for limit, unit in _EPOCH_UNITS if magnitude < limit)
    times: pd.Series[Any] = pd.to_datetime(numbers.where(np.isfinite(numbers)), unit=unit, utc=True, errors="coerce")
    return times
