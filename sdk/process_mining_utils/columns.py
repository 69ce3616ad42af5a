"""Names and finds the columns of an event log: case, activity, time and resource."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from process_mining_utils.times import to_times

CASE = "case:concept:name"
ACTIVITY = "concept:name"
TIME = "time:timestamp"
RESOURCE = "org:resource"
"""The names that the XES standard (IEEE 1849) gives these four; every function takes others as arguments."""

SAMPLE_ROWS = 500  # enough to tell a date from a label, and quick on any log

# Best first; compared in lower case with everything but letters and digits as "_".
_NAMES = {
    "case": ("case_concept_name", "case_id", "caseid", "case", "case_key", "case_number", "trace_id", "trace",
             "process_instance_id", "process_instance", "instance_id", "order_id", "ticket_id", "application_id"),
    "activity": ("concept_name", "activity", "activity_name", "event_name", "event", "task", "task_name", "step",
                 "action", "operation", "status"),
    "time": ("time_timestamp", "timestamp", "event_time", "event_timestamp", "time", "datetime", "date_time",
             "complete_timestamp", "completed_at", "end_time", "end_timestamp", "start_time", "start_timestamp",
             "created_at", "date"),
    "resource": ("org_resource", "resource", "user", "user_id", "employee", "performer", "agent", "originator",
                 "org_role", "role"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class LogColumns:
    """Which column is what; None where there is none."""

    case: str | None
    activity: str | None
    time: str | None
    resource: str | None

    def missing(self) -> list[str]:
        """The roles without a column among those that an analysis needs."""
        needed = {"case": self.case, "activity": self.activity, "time": self.time}
        return [role for role, column in needed.items() if column is None]


def detect_columns(
    df: pd.DataFrame, *, case: str | None = None, activity: str | None = None, time: str | None = None
) -> LogColumns:
    """Finds the columns by name, then by content; a column that is named in the call and exists is taken as it is."""
    sample = df.head(SAMPLE_ROWS)
    given = {role: name if name in df.columns else None for role, name in
             (("case", case), ("activity", activity), ("time", time))}  # fmt: skip
    found: dict[str, str | None] = dict(given)
    free = [column for column in df.columns if column not in given.values()]

    def choose(role: str, fits: Callable[[pd.Series[Any]], bool]) -> None:
        if found.get(role) is None:
            found[role] = next((name for name in _by_name(role, free) if sample.empty or fits(sample[name])), None)
        if found[role] is None and not sample.empty and role != "resource":
            found[role] = next((name for name in free if _by_content(role, sample, name, found)), None)
        free[:] = [column for column in free if column != found[role]]

    choose("time", _is_time)
    choose("case", lambda values: bool(values.notna().any()))
    choose("activity", lambda values: bool(values.notna().any()) and not _is_time(values))
    choose("resource", lambda values: bool(values.notna().any()))
    return LogColumns(case=found["case"], activity=found["activity"], time=found["time"], resource=found["resource"])


def _by_name(role: str, columns: Iterable[Any]) -> list[Any]:
    wanted = _NAMES[role]
    ranked = [(wanted.index(plain), column) for column in columns if (plain := _plain(column)) in wanted]
    return [column for _, column in sorted(ranked, key=lambda pair: pair[0])]


def _plain(column: object) -> str:
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(column))  # caseId → case_Id
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _by_content(role: str, sample: pd.DataFrame, column: Any, found: dict[str, str | None]) -> bool:
    values = sample[column]
    distinct = int(values.nunique())
    if role == "time":
        return _is_time(values)
    if _is_time(values) or distinct < 1:
        return False
    if role == "case":
        # An id repeats, as a case has several events, but not nearly as often as a label does.
        return bool(re.search(r"(id|key|nr|no|number)$", _plain(column))) and distinct < len(sample)
    if found["case"] is None or pd.api.types.is_numeric_dtype(values):
        return False
    within = sample.groupby(found["case"])[column].nunique().mean()
    return 1 < distinct <= max(20, len(sample) // 5) and float(within) > 1.2


def _is_time(values: pd.Series[Any]) -> bool:
    if pd.api.types.is_datetime64_any_dtype(values):
        return True
    if pd.api.types.is_numeric_dtype(values):
        return False
    known = values.dropna()
    return len(known) == 0 or float(to_times(known).notna().mean()) >= 0.9
