"""The rules of what runs by itself: jitter, missed times, and chains without cycles. Pure, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal
from uuid import UUID

from services.catalog.automation.timetable import Timetable

Misfire = Literal["fire_once", "skip"]

GRACE = timedelta(seconds=120)
"""A time that nobody took for longer than this was missed: replicas take one within seconds, and a deployment that
replaces them takes less."""

MISSED_KEPT = 200
"""Missed times that are written down one by one; what lies before them is one entry with their number."""

MISSED = "missed: the service was not running"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of one time; with a `reason` it is skipped."""

    time: datetime
    due: datetime
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Due:
    """A time of a schedule and when it may start."""

    time: datetime
    due: datetime


def delay(notebook_id: UUID, time: datetime, jitter: int) -> timedelta:
    """How long after `time` its run is due: from 0 to `jitter` seconds, for one notebook and time always the same."""
    if jitter == 0:
        return timedelta(0)
    number = int.from_bytes(sha256(notebook_id.bytes + time.isoformat().encode()).digest()[:8], "big")
    return timedelta(milliseconds=number % (jitter * 1000 + 1))


def due(notebook_id: UUID, time: datetime, jitter: int) -> Due:
    """When the run of `time` is due."""
    return Due(time=time, due=time + delay(notebook_id, time, jitter))


def come(
    timetable: Timetable, notebook_id: UUID, first: datetime, now: datetime, jitter: int
) -> tuple[list[Due], Due | None]:
    """The times from `first` (one of the schedule's) on that are due by `now`, and the next one after them."""
    found: list[Due] = []
    next_due = due(notebook_id, first, jitter)
    for time in timetable.after(first):
        if next_due.due > now:
            return found, next_due
        found.append(next_due)
        next_due = due(notebook_id, time, jitter)
    if next_due.due > now:
        return found, next_due
    return [*found, next_due], None


def decide(times: Sequence[Due], now: datetime, misfire: Misfire) -> list[Decision]:
    """What becomes of times that are due, by the policy for missed ones."""
    missed = [entry for entry in times if entry.due + GRACE < now]
    decisions = _missed(missed, misfire)
    return decisions + [Decision(time=entry.time, due=entry.due) for entry in times[len(missed) :]]


def _missed(missed: Sequence[Due], misfire: Misfire) -> list[Decision]:
    if not missed:
        return []
    run = missed[-1] if misfire == "fire_once" else None
    skipped = missed[:-1] if run else missed
    note = MISSED if run is None else f"{MISSED}; the run of the last missed time stands for it"
    early, late = skipped[:-MISSED_KEPT], skipped[-MISSED_KEPT:]
    decisions = [Decision(time=entry.time, due=entry.due, reason=note) for entry in late]
    if early:
        reason = f"{note}; the entry stands for {len(early)} times up to {early[-1].time:%Y-%m-%dT%H:%M:%SZ}"
        decisions.insert(0, Decision(time=early[0].time, due=early[0].due, reason=reason))
    if run:
        decisions.append(Decision(time=run.time, due=run.due))
    return decisions


def cycle(notebook_id: UUID, run_after: Sequence[UUID], links: Mapping[UUID, Sequence[UUID]]) -> list[UUID]:
    """The shortest cycle that a notebook closes by running after others, in the order of running, from the notebook to
    itself; empty without one. `links` says which notebooks each of the others runs after."""
    reached = dict.fromkeys(run_after, notebook_id)  # each with the one that runs after it
    waiting = deque(reached)
    while waiting and notebook_id not in reached:
        later = waiting.popleft()
        for earlier in links.get(later, ()):
            if earlier not in reached:
                reached[earlier] = later
                waiting.append(earlier)
    if notebook_id not in reached:
        return []
    way = [notebook_id, reached[notebook_id]]
    while way[-1] != notebook_id:
        way.append(reached[way[-1]])
    return way
