"""Simulates the event log of an order-to-cash process, for demonstrations and tests. No real company, no real person.

    python examples/simulate_event_log.py --cases 1000 --seed 7 --output orders.csv

Orders arrive from November 2023 to mid-March 2024 and pass through people who work office hours and have queues:
the credit check is short of staff (the bottleneck), orders typed by hand need corrections (rework), some goods fail the
quality check, late payers are reminded, and a few orders skip the credit check or are cancelled (deviations). What
would happen after 31 March is not in the log, so the last cases are still open.

The same arguments give the same bytes on every machine and Python version: only `random.Random.random()` is drawn from,
whose sequence Python guarantees, and durations come from tables by plain arithmetic.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import io
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

COLUMNS = ("case_id", "activity", "timestamp", "resource", "channel", "region", "customer_type", "order_value")
LOG_START = datetime(2023, 11, 1, tzinfo=UTC)
ARRIVAL_DAYS = 135  # to 14 March, so that the last weeks mostly finish what there is
LOG_END = datetime(2024, 4, 1, tzinfo=UTC)
HOUR = 3600
CASES_A_TEAM = 1000  # teams grow with the number of cases, else a long simulation would only grow queues

# Minimum, quarter, half, three quarters and maximum of an amount; in between a straight line.
Quantiles = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Team:
    """People who do some activities, one at a time each, first come first served."""

    people: tuple[str, ...]
    opens: int  # hour of the day, UTC
    closes: int
    weekends: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """An activity: who does it and how long the work takes."""

    team: str
    minutes: Quantiles  # of work


TEAMS = {
    "machine": Team(("EDI gateway", "Web shop"), 0, 24, weekends=True),
    "sales": Team(("Amira", "Bram", "Chloe", "Daan"), 8, 17),
    "credit": Team(("Emil", "Fatima"), 9, 16),
    "warehouse": Team(("Goran", "Hanna", "Ivo", "Jip", "Kaja"), 6, 20, weekends=True),
    "finance": Team(("Lotte", "Milan"), 8, 17),
}
STEPS = {
    "Receive order": Step("sales", (3, 6, 10, 15, 40)),
    "Check order": Step("sales", (4, 8, 12, 20, 60)),
    "Correct order": Step("sales", (10, 20, 35, 60, 180)),
    "Check credit": Step("credit", (12, 28, 50, 80, 150)),
    "Approve exception": Step("credit", (15, 30, 60, 120, 300)),
    "Confirm order": Step("sales", (2, 4, 6, 10, 30)),
    "Pick goods": Step("warehouse", (10, 20, 35, 60, 150)),
    "Check quality": Step("warehouse", (5, 8, 12, 18, 45)),
    "Ship goods": Step("warehouse", (10, 15, 20, 35, 90)),
    "Send invoice": Step("finance", (3, 5, 8, 12, 40)),
    "Send reminder": Step("finance", (2, 3, 5, 8, 20)),
    "Receive payment": Step("finance", (2, 4, 6, 10, 30)),
    "Close order": Step("finance", (1, 2, 3, 5, 15)),
    "Cancel order": Step("sales", (3, 6, 10, 20, 60)),
}
REMINDER_DAYS = 30  # after the invoice
# Days from the invoice to the payment: the web shop's customers pay at once, those who write or phone late.
PAYMENT_DAYS: dict[str, Quantiles] = {
    "web": (0, 0, 1, 3, 15),
    "EDI": (2, 5, 8, 12, 38),
    "e-mail": (4, 10, 18, 29, 60),
    "phone": (4, 10, 18, 29, 60),
}


@dataclass(slots=True)
class Order:
    """One case: its attributes, and how often it has been through a loop."""

    case_id: str
    channel: str
    region: str
    customer_type: str
    value: int
    corrections: int = 0
    repicks: int = 0


@dataclass(order=True, slots=True)
class Arrival:
    """An order gets to an activity; equal times keep the order in which they were planned."""

    at: int  # seconds since LOG_START
    number: int
    order: Order = field(compare=False)
    activity: str = field(compare=False)


class Simulation:
    """Runs orders through teams with queues."""

    def __init__(self, cases: int, seed: int) -> None:
        self._draw = random.Random(seed).random  # noqa: S311  # a simulation, no secret
        self._planned: list[Arrival] = []
        self._count = 0
        size = max(1, -(-cases // CASES_A_TEAM))
        self._free: dict[str, list[tuple[int, int, str]]] = {}
        for name, team in TEAMS.items():
            people = [
                person if group == 0 else f"{person} {group + 1}" for group in range(size) for person in team.people
            ]
            self._free[name] = [(0, number, person) for number, person in enumerate(people)]
        for number in range(cases):
            self._plan(self._arrival(number, cases), self._order(number), "Receive order")

    def rows(self) -> list[tuple[str, ...]]:
        """The events in time order, as text."""
        events: list[tuple[int, int, tuple[str, ...]]] = []
        while self._planned:
            arrival = heapq.heappop(self._planned)
            done, person = self._work(arrival)
            for at, activity in self._next(arrival.order, arrival.activity, done):
                self._plan(at, arrival.order, activity)
            time = LOG_START + timedelta(seconds=done)
            if time < LOG_END:
                order = arrival.order
                stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ")
                row = (order.case_id, arrival.activity, stamp, person, order.channel, order.region,
                       order.customer_type, f"{order.value}.00")  # fmt: skip
                events.append((done, len(events), row))
        return [row for _, _, row in sorted(events)]

    def _arrival(self, number: int, cases: int) -> int:
        day_share = (number + self._draw()) / cases
        at = int(day_share * ARRIVAL_DAYS * 24 * HOUR)
        if (at // (24 * HOUR) + LOG_START.weekday()) % 7 >= 5 and self._draw() < 0.7:
            at += 2 * 24 * HOUR  # most weekend orders are placed on the days after
        return at

    def _order(self, number: int) -> Order:
        channel = self._pick((("EDI", 35), ("web", 35), ("e-mail", 20), ("phone", 10)))
        customer_type = self._pick((("regular", 60), ("new", 25), ("key account", 15)))
        value = int(self._quantile((40, 250, 700, 2400, 25000)))
        region = self._pick((("North", 30), ("South", 25), ("East", 20), ("West", 25)))
        return Order(f"O-{number + 1:06}", channel, region, customer_type, value)

    def _work(self, arrival: Arrival) -> tuple[int, str]:
        """Takes the person of the team who is free first; returns when the work is done, and by whom."""
        step = STEPS[arrival.activity]
        automatic = arrival.activity == "Receive order" and arrival.order.channel in {"EDI", "web"}
        if automatic:
            return arrival.at + 5, TEAMS["machine"].people[arrival.order.channel == "web"]
        free_at, number, person = heapq.heappop(self._free[step.team])
        begin = _opening(TEAMS[step.team], max(arrival.at, free_at))
        minutes = self._quantile(step.minutes)
        if arrival.activity == "Check credit" and arrival.order.customer_type == "new":
            minutes *= 3  # nothing is known about them yet
        done = begin + int(minutes * 60)
        heapq.heappush(self._free[step.team], (done, number, person))
        return done, person

    def _next(self, order: Order, activity: str, done: int) -> Iterator[tuple[int, str]]:
        """Where the order goes from here, and when it gets there."""
        by_hand = order.channel in {"e-mail", "phone"}
        match activity:
            case "Receive order":
                yield done, "Check order"
            case "Check order":
                if order.corrections < 3 and self._draw() < (0.45 if by_hand else 0.06):
                    order.corrections += 1
                    yield done + int(self._quantile((1, 4, 10, 26, 90)) * HOUR), "Correct order"
                elif self._draw() < (0.35 if order.customer_type == "key account" else 0.02):
                    yield done, "Confirm order"  # the credit check is skipped
                else:
                    yield done, "Check credit"
            case "Correct order":
                yield done, "Check order"
            case "Check credit":
                risky = order.value > 5000 or order.customer_type == "new"
                if self._draw() < (0.3 if risky else 0.03):
                    yield done, "Approve exception"
                elif self._draw() < 0.02:
                    yield done, "Cancel order"
                else:
                    yield done, "Confirm order"
            case "Approve exception":
                yield done, "Cancel order" if self._draw() < 0.25 else "Confirm order"
            case "Confirm order":
                yield done, "Pick goods"
            case "Pick goods":
                yield done, "Check quality"
            case "Check quality":
                if order.repicks < 2 and self._draw() < 0.08:
                    order.repicks += 1
                    yield done, "Pick goods"
                else:
                    yield done, "Ship goods"
            case "Ship goods":
                yield done, "Send invoice"
            case "Send invoice":
                days = self._quantile(PAYMENT_DAYS[order.channel])
                if days > REMINDER_DAYS:
                    yield done + REMINDER_DAYS * 24 * HOUR, "Send reminder"
                yield done + int(days * 24 * HOUR), "Receive payment"
            case "Receive payment":
                yield done, "Close order"

    def _plan(self, at: int, order: Order, activity: str) -> None:
        heapq.heappush(self._planned, Arrival(at, self._count, order, activity))
        self._count += 1

    def _quantile(self, table: Quantiles) -> float:
        place = self._draw() * 4
        number = min(int(place), 3)
        return table[number] + (table[number + 1] - table[number]) * (place - number)

    def _pick(self, weights: Sequence[tuple[str, int]]) -> str:
        left = self._draw() * sum(weight for _, weight in weights)
        for choice, weight in weights:
            left -= weight
            if left < 0:
                return choice
        return weights[-1][0]


def _opening(team: Team, at: int) -> int:
    """The first second from `at` on when the team works."""
    while True:
        day, second = divmod(at, 24 * HOUR)
        if not team.weekends and (day + LOG_START.weekday()) % 7 >= 5:
            at = (day + 1) * 24 * HOUR
        elif second < team.opens * HOUR:
            return day * 24 * HOUR + team.opens * HOUR
        elif second >= team.closes * HOUR:
            at = (day + 1) * 24 * HOUR
        else:
            return at


def simulate(cases: int, seed: int) -> str:
    """Returns the log as CSV text, one line an event. Raises ValueError for a negative number of cases."""
    if cases < 0:
        raise ValueError("the number of cases cannot be negative")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(Simulation(cases, seed).rows())
    return stream.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line and writes the file."""
    parser = argparse.ArgumentParser(description="Simulates the event log of an order-to-cash process (no real data).")
    parser.add_argument("--cases", type=int, default=1000, help="number of orders (default 1000)")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same log (default 7)")
    parser.add_argument("--output", type=Path, help="CSV file to write (default: standard output)")
    options = parser.parse_args(arguments)
    if options.cases < 0:
        parser.error("--cases cannot be negative")
    log = simulate(options.cases, options.seed)
    if options.output is None:
        sys.stdout.write(log)
    else:
        options.output.write_bytes(log.encode("utf-8"))
        print(f"{log.count(chr(10)) - 1:,} simulated events of {options.cases:,} orders: {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
