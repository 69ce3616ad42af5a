"""Cron lines and time zones."""

from __future__ import annotations

import pytest

from services.catalog import schedule
from shared.contracts.notebooks import Integration


@pytest.mark.parametrize(
    "line",
    ["0 2 * * *", "*/15 8-18 * * mon-fri", "0 0 1,15 JAN-mar *", "5  4\t* * 7", "0 0 29 2 *", "59 23 31 12 sun,2"],
)
def test_lines_that_cron_takes(line: str) -> None:
    assert schedule.faults_of(Integration(schedule_execution=line), "integration") == []


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 31 2 *",
        "0 0 L * *",
        "0 0 * * 5#2",
        "H H * * *",
        "0 0 ? * *",
        "0 0 * mon *",
        "0 0 * * jan",
        "-1 * * * *",
        "*/0 * * * *",
        "a b c d e",
        "0 0 * * *\x00",
        "\uff11 \uff12 * * *",
        "*" * 300 + " * * * *",
    ],
)
def test_lines_that_it_does_not(line: str) -> None:
    (fault,) = schedule.faults_of(Integration(schedule_execution=line), "integration")
    assert fault.path == "integration.scheduleExecution"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Amsterdam", "America/Argentina/Ushuaia", "Etc/GMT+5"])
def test_zones_of_the_tz_database(zone: str) -> None:
    assert schedule.faults_of(Integration(schedule_time_zone=zone), "") == []


@pytest.mark.parametrize("zone", ["", "Europe", "../etc/passwd", "europe/amsterdam", "CEST", "localtime", "Mars/X\x00"])
def test_what_is_no_zone(zone: str) -> None:
    (fault,) = schedule.faults_of(Integration(schedule_time_zone=zone), "")
    assert fault.path == "scheduleTimeZone"
