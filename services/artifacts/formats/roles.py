"""Which columns of a table are the case, the activity and the time of an event log."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.errors import Fault, Invalid

SHOWN_COLUMNS = 50
"""How many column names an error lists."""

_CASE_NAMES = (
    "case:concept:name",
    "caseconceptname",
    "caseid",
    "case",
    "casekey",
    "casenumber",
    "caseno",
    "casename",
    "caseidentifier",
    "traceid",
    "processinstanceid",
    "processinstance",
    "instanceid",
    "zaakid",
    "zaaknummer",
    "zaak",
)
_ACTIVITY_NAMES = (
    "concept:name",
    "conceptname",
    "activity",
    "activityname",
    "activityid",
    "event",
    "eventname",
    "eventtype",
    "task",
    "taskname",
    "action",
    "step",
    "stepname",
    "operation",
    "activiteit",
)
_TIME_NAMES = (
    "time:timestamp",
    "timetimestamp",
    "timestamp",
    "time",
    "datetime",
    "eventtime",
    "eventtimestamp",
    "eventdatetime",
    "completetimestamp",
    "completetime",
    "endtimestamp",
    "endtime",
    "starttimestamp",
    "starttime",
    "date",
    "eventdate",
    "startdate",
    "createdat",
    "occurredat",
    "tijdstip",
    "datum",
)
_TIME_TYPES = ("timestamp", "date")
_NOT_A_LETTER = re.compile(r"[\W_]+")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The columns' names, None where a table has no such column; as a wish, None means: find out."""

    case_id: str | None = None
    activity: str | None = None
    time: str | None = None


def assign(columns: Sequence[tuple[str, str]], wish: Roles, habit: Roles) -> Roles:
    """The roles in a table of (name, type) columns: as wished, else as in the version before (`habit`), else by the
    names of the XES standard, by common names, and by type. Raises Invalid for a wished column that is not there."""
    types = dict(columns)
    _check_wish(types, wish)
    time = wish.time or _kept(habit.time, types) or _find_time(columns)
    case_id = wish.case_id or _kept(habit.case_id, types) or _named(columns, _CASE_NAMES)
    if case_id is None:
        case_id = _first(columns, lambda name, kind: kind in ("string", "integer") and plain(name).endswith("id"))
    activity = wish.activity or _kept(habit.activity, types) or _named(columns, _ACTIVITY_NAMES, but=(case_id, time))
    return Roles(case_id=case_id, activity=activity, time=time)


def plain(name: str) -> str:
    """A name in lower case without anything but letters and digits: `Case ID` and `case_id` are the same."""
    return _NOT_A_LETTER.sub("", name).lower()


def _check_wish(types: dict[str, str], wish: Roles) -> None:
    faults = []
    shown = ", ".join(repr(name) for name in list(types)[:SHOWN_COLUMNS])
    more = f" and {len(types) - SHOWN_COLUMNS} more" if len(types) > SHOWN_COLUMNS else ""
    for path, name in (("caseIdColumn", wish.case_id), ("activityColumn", wish.activity), ("timeColumn", wish.time)):
        if name is not None and name not in types:
            message = f"there is no column {name!r}; the columns are {shown}{more}"
            faults.append(Fault(path=path, message=message))
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults), faults=faults)


def _kept(name: str | None, types: dict[str, str]) -> str | None:
    return name if name in types else None


def _find_time(columns: Sequence[tuple[str, str]]) -> str | None:
    timed = [(name, kind) for name, kind in columns if kind in _TIME_TYPES]
    return (
        _named(timed, _TIME_NAMES)
        or _first(timed, lambda _name, kind: kind == "timestamp")
        or _first(timed, lambda _name, _kind: True)
        or _named([(name, kind) for name, kind in columns if kind == "string"], _TIME_NAMES)
    )


def _named(columns: Sequence[tuple[str, str]], wanted: Sequence[str], *, but: Sequence[str | None] = ()) -> str | None:
    for candidate in wanted:
        exact = candidate if ":" in candidate else None
        for name, _kind in columns:
            if name not in but and (name == exact if exact else plain(name) == candidate):
                return name
    return None


def _first(columns: Sequence[tuple[str, str]], fits: Callable[[str, str], bool]) -> str | None:
    return next((name for name, kind in columns if fits(name, kind)), None)
