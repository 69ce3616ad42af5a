"""Fire times against an independent oracle: a walk through all minutes that applies SPEC.md's rule, vectorised.

Ten years, fifty lines, twelve zones, of which `make test` takes those that change their clocks in a way of their own.
Lines that fire often are compared around every clock change and on other days chosen at random; `ATELIER_ALL_FIRES=1`
compares every fire of every line (twenty minutes), as `make test-long` does. On days without a clock change another
library has its say as well; it knows no zone here, so it says it once for all zones.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pytest
from croniter import croniter

from services.catalog.automation.timetable import Timetable, fault_of
from tests.support.long import count, others_are_long

FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
MINUTES = int((LAST - FIRST) / timedelta(minutes=1))
MARGIN = 2 * 1440
"""Minutes of wall clock before and after the ten years that a zone may show."""

ALL = count("ATELIER_ALL_FIRES", usual=0, long=1) == 1
OFTEN = 3 * 3653 // 2
"""A line with more fires than this in ten years is compared in parts."""

ZONES = [
    "UTC",
    "Europe/Amsterdam",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Pacific/Chatham",
]

USUAL_ZONES = [
    "Europe/Amsterdam",
    "America/New_York",
    "Australia/Lord_Howe",  # by half an hour
    "Antarctica/Troll",  # by two hours
    "Africa/Casablanca",  # on days that follow the moon
]

EVERY_ZONE = sorted(available_timezones() - {"localtime", "Factory"})

LINES = [
    "* * * * *",
    "*/5 * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "30 * * * *",
    "15,45 * * * *",
    "0 */2 * * *",
    "0 */3 * * *",
    "30 1-23/2 * * *",
    "5 0,*/6 * * *",
    "*/20 */4 * * *",
    "0 0 * * *",
    "30 0 * * *",
    "0 1 * * *",
    "30 1 * * *",
    "0 2 * * *",
    "15 2 * * *",
    "30 2 * * *",
    "45 2 * * *",
    "59 2 * * *",
    "0 3 * * *",
    "30 3 * * *",
    "0 2,3 * * *",
    "30 1,2,3 * * *",
    "0 1-4 * * *",
    "*/15 2 * * *",
    "* 2 * * *",
    "* 1 * * sun",
    "0,30 0-23 * * *",
    "10 2 * * sun",
    "30 2 * * 7",
    "30 2 * * 0",
    "0 9 * * mon-fri",
    "0 9-17 * * 1-5",
    "0 0 1 * *",
    "30 2 1,15 * *",
    "0 0 31 * *",
    "0 0 29 2 *",
    "0 0 29 feb *",
    "0 12 13 * 5",
    "0 2 1-7 * sun",
    "0 2 */2 * mon",
    "0 2 * */3 *",
    "30 2 25-31 3,10 *",
    "30 2 25-31 mar,oct */7",
    "0 6 * 1-6/2 2",
    "5 4 * * 6-7",
    "59 23 31 12 *",
    "17 3 10-20/5 * *",
    "0 0 1 1 *",
]


def clock(zone: str, start: int = 0, end: int = MINUTES) -> np.ndarray:
    """What the zone's clock shows at each minute, as minutes since FIRST."""
    return _clock(zone, start, end)


@cache
def _clock(zone: str, start: int, end: int) -> np.ndarray:
    """Changes fall on quarters of an hour."""
    info = ZoneInfo(zone)
    offsets = [offset(info, minute) for minute in range(start, end, 15)]
    return np.arange(start, end, dtype=np.int32) + np.repeat(np.array(offsets, dtype=np.int32), 15)


def offset(zone: ZoneInfo, minute: int) -> int:
    """How far the zone's clock is before UTC, in minutes."""
    shown = (FIRST + timedelta(minutes=minute)).astimezone(zone)
    return (shown.utcoffset() or timedelta(0)) // timedelta(minutes=1)


def numbers(field: str, low: int, high: int, names: str = "") -> set[int]:
    """What a field of a cron line allows."""
    found: set[int] = set()
    for part in field.split(","):
        body, _, step = part.partition("/")
        for name in names.split():
            body = body.replace(name, str(names.split().index(name) + low))
        start, _, end = body.partition("-")
        if body == "*":
            start, end = str(low), str(high)
        found |= set(range(int(start), int(end or (high if step else start)) + 1, int(step or 1)))
    return found


@cache
def matching(line: str) -> np.ndarray:
    """Which minutes of a wall clock the line names, from MARGIN minutes before FIRST."""
    minute, hour, day, month, weekday = line.split()
    minutes, hours = numbers(minute, 0, 59), numbers(hour, 0, 23)
    days, months = numbers(day, 1, 31), numbers(month, 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec")
    weekdays = {number % 7 for number in numbers(weekday, 0, 7, "sun mon tue wed thu fri sat")}
    in_day = np.array([m // 60 in hours and m % 60 in minutes for m in range(1440)])
    start = FIRST - timedelta(minutes=MARGIN)

    def named(date: datetime) -> bool:
        by_day, by_week = date.day in days, date.isoweekday() % 7 in weekdays
        both = by_day and by_week if day.startswith("*") or weekday.startswith("*") else by_day or by_week
        return both and date.month in months

    dates = np.array([named(start + timedelta(days=n)) for n in range((MINUTES + 2 * MARGIN) // 1440)])
    return np.outer(dates, in_day).ravel()


def oracle(line: str, zone: str, start: int = 0, end: int = MINUTES) -> np.ndarray:
    """The minutes after FIRST at which the line fires, of those from `start` to `end`."""
    shown, named = clock(zone, start, end), matching(line)
    fires = named.take(shown + MARGIN)
    hour = line.split()[1]
    if "*" not in hour and "/" not in hour:
        new, jumps = first_times(zone, start, end)
        fires &= new
        for jump, highest in jumps.items():  # the clock skipped the minutes in between
            fires[jump] = named[highest + 1 + MARGIN : shown[jump] + 1 + MARGIN].any()
    return np.flatnonzero(fires) + start


@cache
def first_times(zone: str, start: int, end: int) -> tuple[np.ndarray, dict[int, int]]:
    """Whether the clock shows each minute for the first time, and the latest time shown before each leap forward."""
    shown = clock(zone, start, end)
    highest = np.concatenate(([shown[0] - 1], np.maximum.accumulate(shown)[:-1]))
    jumps = np.flatnonzero(shown > highest + 1)
    return shown > highest, {int(jump): int(highest[jump]) for jump in jumps}


@cache
def changes(zone: str) -> np.ndarray:
    """The minutes at which the zone's clock is changed."""
    return np.flatnonzero(np.diff(clock(zone)) != 1) + 1


def parts(zone: str, seed: str) -> Iterator[tuple[int, int]]:
    """Spans of minutes around clock changes, and eight days."""
    for change in changes(zone):
        yield max(int(change) - 300, 0), min(int(change) + 300, MINUTES)
    chance = random.Random(seed)
    for _ in range(8):
        start = chance.randrange(MINUTES - 1440)
        yield start, start + 1440


@cache
def every_fire(line: str, zone: str) -> np.ndarray:
    """All fires of the ten years."""
    return np.array(computed(Timetable(line, zone), 0, MINUTES), dtype=np.int32)


def computed(timetable: Timetable, start: int, end: int) -> list[int]:
    """The fires from minute `start` on, before `end`."""
    until = FIRST + timedelta(minutes=end)
    fires = timetable.after(FIRST + timedelta(minutes=start, seconds=-1))
    return [int((fire - FIRST).total_seconds()) // 60 for fire in itertools.takewhile(lambda f: f < until, fires)]


@pytest.mark.timeout(3000 if ALL else 300)
@pytest.mark.parametrize("zone", others_are_long(ZONES, USUAL_ZONES))
def test_ten_years_agree_with_a_walk_through_all_minutes(zone: str) -> None:
    for line in LINES:
        expected = oracle(line, zone)
        if ALL or len(expected) <= OFTEN:
            assert np.array_equal(every_fire(line, zone), expected), (line, zone)
            continue
        timetable = Timetable(line, zone)
        for start, end in parts(zone, line):
            low, high = np.searchsorted(expected, [start, end])
            assert computed(timetable, start, end) == expected[low:high].tolist(), (line, zone, start)


def test_the_oracle_sees_changes_of_all_kinds() -> None:
    sizes = {int(size) for zone in ZONES for size in np.diff(clock(zone))[changes(zone) - 1] - 1}
    assert {60, -60, 30, -30, 120, -120} <= sizes
    assert len(LINES) == len(set(LINES)) == 50
    assert len(set(ZONES)) == 12


@pytest.mark.timeout(3000 if ALL else 300)
@pytest.mark.parametrize("line", LINES)
def test_another_library_agrees_on_days_without_a_change(line: str) -> None:
    """croniter knows no star in Debian's sense in the day fields but by request, and other rules for clock changes."""
    whole = ALL or len(oracle(line, "UTC")) <= OFTEN
    chance = random.Random(line)
    days = [(0, MINUTES // 1440)] if whole else [(day, day + 1) for day in chance.sample(range(MINUTES // 1440), 4)]
    for first, last in days:
        theirs = named_by_croniter(line, first, last)
        for zone in ZONES:
            start, end = max(first * 1440 - FARTHEST, 0), min(last * 1440 + FARTHEST, MINUTES)
            fires = every_fire(line, zone) if whole else computed(Timetable(line, zone), start, end)
            ours = clock(zone)[np.asarray(fires, dtype=int)]
            assert np.array_equal(ours[even(zone, ours, first, last)], theirs[even(zone, theirs, first, last)]), zone


def one_of_each() -> list[str]:
    """One zone for each rule of clock changes, which stands in the last line of its file (RFC 9636); zones that follow
    a calendar of their own have the same line, but are seldom at the same time."""
    found: dict[tuple[bytes, bytes], str] = {}
    folder = files("tzdata.zoneinfo")
    for zone in EVERY_ZONE:
        info = ZoneInfo(zone)
        rule = folder.joinpath(zone).read_bytes().splitlines()[-1]
        found.setdefault((rule, bytes(offset(info, day * 1440) // 15 + 64 for day in range(0, 365, 14))), zone)
    return [*found.values()]


FARTHEST = 15 * 60
"""More than any clock is from UTC, in minutes."""


def named_by_croniter(line: str, first: int, last: int) -> np.ndarray:
    """The minutes of a clock that nobody changes at which the line fires, from one day of the ten years to another."""
    start, end = ((FIRST + timedelta(days=day)).replace(tzinfo=None) for day in (first, last))
    fires = croniter(line, start - timedelta(seconds=1), implement_cron_bug=True).all_next(float)
    until = end.replace(tzinfo=UTC).timestamp()
    seconds = np.fromiter(itertools.takewhile(lambda fire: fire < until, fires), dtype=np.int64)
    return (seconds - int(FIRST.timestamp())) // 60


def even(zone: str, shown: np.ndarray, first: int, last: int) -> np.ndarray:
    """Which of the minutes that a clock shows fall on a whole day in which it is not changed."""
    whole = clock(zone)
    uneven = {int(whole[change + side]) // 1440 for change in changes(zone) for side in (-1, 0)}
    first, last = max(first, -(-int(whole[0]) // 1440)), min(last, (int(whole[-1]) + 1) // 1440)
    day = shown // 1440
    return ~np.isin(day, list(uneven)) & (day >= first) & (day < last)


@pytest.mark.parametrize("zone", others_are_long(EVERY_ZONE, one_of_each()))
def test_every_zone_fires_each_day_once(zone: str) -> None:
    """Two years of a time in the night: never twice for a date, and each date once."""
    fires = computed(Timetable("30 2 * * *", zone), 0, 2 * 365 * 1440)
    dates = [(FIRST + timedelta(minutes=minute)).astimezone(ZoneInfo(zone)).date() for minute in fires]
    assert len(set(dates)) == len(dates)
    assert all(later - earlier == timedelta(days=1) for earlier, later in itertools.pairwise(dates))


@pytest.mark.parametrize("zone", others_are_long(EVERY_ZONE, one_of_each()))
def test_every_zone_agrees_with_a_walk_around_its_clock_changes(zone: str) -> None:
    """A year; a fixed hour, a star and a step in the hour field."""
    info = ZoneInfo(zone)
    for day in range(1, 365):
        if offset(info, day * 1440) == offset(info, (day + 1) * 1440):
            continue
        start, end = (day - 1) * 1440, (day + 2) * 1440
        for line in ("15,45 0,1,2,3,4,23 * * *", "*/15 * * * *", "10 1-23/2 * * *"):
            expected = oracle(line, zone, start, end).tolist()
            assert computed(Timetable(line, zone), start, end) == expected, (line, start)


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),  # skipped: right after the change, at 3:00
        ("30 2 * * *", "2026-03-29T01:00Z", "2026-03-30T00:30Z"),
        ("30 2 * * *", "2026-10-24T12:00Z", "2026-10-25T00:30Z"),  # twice on the clock: the first time
        ("30 2 * * *", "2026-10-25T00:30Z", "2026-10-26T01:30Z"),
        ("30 2 * * *", "2026-10-25T01:10Z", "2026-10-26T01:30Z"),  # asked in between
        ("30 * * * *", "2026-10-25T00:30Z", "2026-10-25T01:30Z"),  # elapsed time: an hour later
        ("0 */2 * * *", "2026-03-28T23:00Z", "2026-03-29T02:00Z"),  # 2:00 is not shown, 4:00 is the next
        ("* 2 * * *", "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
    ],
)
def test_clock_changes_in_amsterdam(line: str, after: str, expected: str) -> None:
    fire = Timetable(line, "Europe/Amsterdam").first_after(datetime.fromisoformat(after))
    assert fire == datetime.fromisoformat(expected)


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 2,4,6 *", "61 * * * *", "* * * *"])
def test_lines_without_a_fire(line: str) -> None:
    assert fault_of(line) is not None
