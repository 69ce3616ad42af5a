"""When a cron line fires in a time zone: Debian cron's rule for clock changes, as SPEC.md words it. Pure, no I/O.

With a fixed hour the wall clock counts: a time that is skipped fires once right after the change, one that occurs twice
fires the first time. With `*` or a step in the hour field elapsed time counts: every real minute is compared with what
the wall clock shows then. The hour field alone decides, also when the minute field has a star (Debian's own cron would
treat `*/5 2 * * *` like an hour with a star and leave its skipped times out).

The library answers on a clock without changes; the changes are put in here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MINUTE = timedelta(minutes=1)

LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""No fire time beyond this is looked for; a line that fires on 29 February only has plenty before."""


def fault_of(line: str) -> str | None:
    """Why a line of five fields is malformed or never fires; None when it fires."""
    try:
        next(CronSim(line, datetime(2024, 1, 1)))  # noqa: DTZ001 - a clock without a zone
    except CronSimError as error:
        return f"is malformed or never fires: {error}"
    except StopIteration:
        return "never fires"
    return None


class Timetable:
    """The fire times of one valid cron line in one zone of the tz database."""

    def __init__(self, line: str, zone: str) -> None:
        self._line = " ".join(line.split())
        self._zone = ZoneInfo(zone)
        hour = self._line.split(" ")[1]
        self._elapsed = "*" in hour or "/" in hour

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The fire times after `moment`, in UTC and in order."""
        return self._by_elapsed_time(moment) if self._elapsed else self._by_wall_clock(moment)

    def first_after(self, moment: datetime) -> datetime | None:
        """The next fire time; None when there is none before LATEST."""
        return next(self.after(moment), None)

    def _by_wall_clock(self, moment: datetime) -> Iterator[datetime]:
        last = moment.astimezone(UTC)
        for wall in CronSim(self._line, _wall(moment, self._zone)):
            fire = self._first_showing(wall)
            if fire > LATEST:
                return
            if fire > last:  # a skipped hour's times fall together; a repeated hour's are over already
                yield fire
                last = fire

    def _first_showing(self, wall: datetime) -> datetime:
        """When the zone's clock first shows `wall`; right after the change for a time that it skips."""
        fire = wall.replace(tzinfo=self._zone, fold=0).astimezone(UTC)
        if _wall(fire, self._zone) == wall:
            return fire
        change = max(c for c in _changes(self._zone, fire.year - 1) + _changes(self._zone, fire.year) if c <= fire)
        return change if change.second == 0 else change.replace(second=0) + MINUTE

    def _by_elapsed_time(self, moment: datetime) -> Iterator[datetime]:
        start = moment.astimezone(UTC)
        offset = _offset(start, self._zone)
        wall_before = (start + offset).replace(tzinfo=None)
        while start < LATEST:
            change = _next_change(self._zone, start)
            for wall in CronSim(self._line, wall_before):
                fire = (wall - offset).replace(tzinfo=UTC)
                if fire >= change:
                    break
                yield fire
            start, offset = change, _offset(change, self._zone)
            wall_before = (change + offset).replace(tzinfo=None) - timedelta(seconds=1)  # the change itself counts


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    return timedelta(0) if offset is None else offset


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clock shows, without the zone."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _next_change(zone: ZoneInfo, moment: datetime) -> datetime:
    """When the zone's clock is next changed after `moment`, or a point before that: a year or two are looked ahead."""
    for year in (moment.year, moment.year + 1):
        for change in _changes(zone, year):
            if change > moment:
                return change
    return datetime(moment.year + 2, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=8192)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """When the zone's distance from UTC changes within a year (of UTC). Two changes within a day cancel each other."""
    found = []
    before, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while before < end:
        after = before + timedelta(days=1)
        if _offset(before, zone) != _offset(after, zone):
            found.append(_bisected(zone, before, after))
        before = after
    return tuple(found)


def _bisected(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second of the new distance; `before` has the old one, `after` the new."""
    offset = _offset(before, zone)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if _offset(middle, zone) == offset:
            before = middle
        else:
            after = middle
    return after
