"""What a schedule may say: a five-field cron line as in Debian's crontab(5), and a time zone of the tz database."""

from __future__ import annotations

import re
from functools import cache
from zoneinfo import available_timezones

from services.catalog.automation import timetable
from services.catalog.faults import path_of
from shared.contracts.notebooks import Integration
from shared.errors import Fault

CRON_LENGTH = 200
"""The longest cron line, in characters."""

_FIELD = re.compile(r"^[0-9A-Za-z*,/-]+\Z", re.ASCII)
_NAMES = re.compile(r"[A-Za-z]+")
_MONTHS = frozenset(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
_DAYS = frozenset(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
_NAMED_FIELDS: tuple[frozenset[str], ...] = (frozenset(), frozenset(), frozenset(), _MONTHS, _DAYS)

_NOT_ZONES = frozenset({"localtime", "Factory"})
"""Entries of the tz database's folder that name no zone."""


def faults_of(integration: Integration, prefix: str) -> list[Fault]:
    """What is wrong with the schedule of `integration`."""
    faults = []
    if integration.schedule_execution is not None:
        message = _cron_fault(integration.schedule_execution)
        if message:
            faults.append(Fault(path=path_of(["scheduleExecution"], prefix), message=message))
    zone = integration.schedule_time_zone
    if zone is not None and zone not in _zones():
        path = path_of(["scheduleTimeZone"], prefix)
        faults.append(Fault(path=path, message="must be a time zone of the tz database, such as Europe/Amsterdam"))
    return faults


def _cron_fault(line: str) -> str | None:
    fields = line.split()
    if len(fields) != 5 or len(line) > CRON_LENGTH:
        return "must be a cron line of five fields: minute, hour, day of month, month, day of week"
    for number, (text, names) in enumerate(zip(fields, _NAMED_FIELDS, strict=True), start=1):
        # The library takes more than cron does (`L`, `#`, `H`, `?`); what is stored must mean the same everywhere.
        if not _FIELD.match(text) or any(word.lower() not in names for word in _NAMES.findall(text)):
            return f"field {number} ({text[:40]}) is not one of cron's: numbers, names, *, lists, ranges and steps"
    return timetable.fault_of(" ".join(fields))


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NOT_ZONES
