"""Output events of a running cell: joined as a terminal shows it, bounded in size, and never too many in a second.

The clock is a made one. What a progress bar amounts to is asked of nbclient, which joins streams its own way.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from nbclient.client import _RGX_CARRIAGERETURN

from services.executor.kernels import terminal
from services.executor.running import live_output
from services.executor.running.live_output import EVENT_CHARACTERS, EVENTS_A_SECOND, MAX_OUTPUTS, LiveOutput, Told


class Clock:
    """A loop's timers, which fire when the test says that time goes by."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._timers: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = itertools.count()

    def call_later(self, delay: float, call: Callable[[], None]) -> SimpleNamespace:
        number = next(self._numbers)
        self._timers[number] = (self.now + delay, call)
        return SimpleNamespace(cancel=lambda: self._timers.pop(number, None))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((when, number) for number, (when, _) in self._timers.items() if when <= end):
            self.now, number = max(due[0][0], self.now), due[0][1]
            self._timers.pop(number)[1]()
        self.now = end


class Listened:
    """A LiveOutput on a made clock, and the events it has sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr(live_output, "time", SimpleNamespace(monotonic=lambda: self.clock.now))
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.clock)
        self.sent: list[tuple[float, Told]] = []
        self.output = LiveOutput(lambda told: self.sent.append((self.clock.now, told)), enabled=True)

    def text(self, rest: Told, name: str = "stdout") -> str:
        """What a reader puts together."""
        every = [*(told for _, told in self.sent), rest]
        return "".join(part.text or "" for told in every for part in told.outputs if part.name == name)

    def most_in_a_second(self) -> int:
        times = [when for when, _ in self.sent]
        return max((sum(start <= when < start + 1 for when in times) for start in times), default=0)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Listened:
    return Listened(monkeypatch)


def test_a_short_cell_has_no_event_and_its_end_tells_everything(heard: Listened) -> None:
    for number in range(100):
        heard.output.begin()
        heard.output.stream("stdout", f"{number}\n")
        heard.clock.advance(0.01)
        rest = heard.output.end()
        assert [(part.name, part.text) for part in rest.outputs] == [("stdout", f"{number}\n")]
    heard.clock.advance(10)
    assert heard.sent == []


def test_a_log_is_told_as_it_comes_and_never_too_often(heard: Listened) -> None:
    heard.output.begin()
    for number in range(500):
        heard.output.stream("stdout", f"line {number}\n")
        heard.clock.advance(0.01)
    told_before = len(heard.sent)
    assert told_before > 20
    rest = heard.output.end()
    assert heard.text(rest) == "".join(f"line {number}\n" for number in range(500))
    assert heard.most_in_a_second() <= EVENTS_A_SECOND
    # After that the cell is silent, and so are replayed cells.
    heard.output.stream("stdout", "late")
    heard.clock.advance(10)
    assert len(heard.sent) <= told_before + 1


def test_cells_that_end_right_after_their_first_event_do_not_make_more_of_them(heard: Listened) -> None:
    everything = ""
    for number in range(60):
        heard.output.begin()
        heard.output.stream("stdout", f"a {number}\n")
        heard.clock.advance(0.101)
        heard.output.stream("stdout", f"b {number}\n")
        sent = len(heard.sent)
        rest = heard.output.end()
        every = [*(told for _, told in heard.sent[sent:]), rest]
        everything += "".join(part.text or "" for told in every for part in told.outputs)
    assert heard.most_in_a_second() <= EVENTS_A_SECOND
    assert everything.count("b ") == 60


def test_a_run_of_hours_has_fewer_events_than_seconds(heard: Listened) -> None:
    heard.output.begin()
    for _ in range(6 * 3600):
        heard.output.stream("stdout", ".")
        heard.clock.advance(1.0)
    assert len(heard.sent) < 13_000


@pytest.mark.parametrize("seed", range(40))
def test_put_together_the_texts_show_what_the_whole_stream_shows(heard: Listened, seed: int) -> None:
    chance = random.Random(seed)
    heard.output.begin()
    pieces = []
    alphabet = "ab é😀\n" + ("\r" if seed % 2 else "\b")
    for _ in range(60):
        piece = "".join(chance.choices(alphabet, k=chance.randrange(1, 9)))
        pieces.append(piece)
        heard.output.stream("stdout", piece)
        heard.clock.advance(chance.choice([0, 0, 0.05, 0.3]))
    together = heard.text(heard.output.end())
    assert terminal.shown(terminal.shown(together)) == terminal.shown(terminal.shown("".join(pieces)))


def test_a_progress_bar_is_its_newest_state(heard: Listened) -> None:
    heard.output.begin()
    for percent in range(101):
        heard.output.stream("stderr", f"\r{percent:3}%|{'#' * percent:100}|")
        heard.clock.advance(0.02)
    heard.output.stream("stderr", "\n")
    together = heard.text(heard.output.end(), "stderr")
    assert _RGX_CARRIAGERETURN.sub("", together) == f"100%|{'#' * 100}|\n"
    assert len(heard.sent) < 20
    assert all(len(part.text or "") < 130 for _, told in heard.sent for part in told.outputs)


def test_a_flood_is_cut_and_counted(heard: Listened) -> None:
    heard.output.begin()
    for _ in range(3_000):
        heard.output.stream("stdout", "😀" * 1_000)
        heard.clock.advance(0.001)
    rest = heard.output.end()
    parts = [part for told in [*(told for _, told in heard.sent), rest] for part in told.outputs]
    assert all(len(part.text or "") <= EVENT_CHARACTERS for part in parts)
    assert sum(len(part.text or "") + part.cut_characters for part in parts) == 3_000_000
    assert all(told.needs_link for _, told in heard.sent)
    assert all(set(part.text or "") <= {"😀"} for part in parts)


def test_the_newest_outputs_are_listed_and_the_others_counted(heard: Listened) -> None:
    heard.output.begin()
    for number in range(50):
        heard.output.shown("display_data", {"data": {"text/plain": str(number), "image/png": "x"}}, 2)
    heard.clock.advance(1)
    ((_, told),) = heard.sent
    assert [part.text for part in told.outputs] == [str(number) for number in range(50 - MAX_OUTPUTS, 50)]
    assert told.omitted == 50 - MAX_OUTPUTS
    assert told.outputs[0].mime_types == ["text/plain", "image/png"]
    heard.output.cleared()
    heard.output.shown("update_display_data", {"data": {}, "transient": {"display_id": "d"}}, 0)
    heard.output.shown("update_display_data", {"data": {"text/plain": "new"}, "transient": {"display_id": "d"}}, 3)
    heard.output.shown("error", {"ename": "E" * 900, "evalue": "bad", "traceback": []}, 3)
    rest = heard.output.end()
    assert (rest.cleared, rest.omitted) == (False, 0)
    told = heard.sent[-1][1]
    assert told.cleared
    assert [(part.output_type, (part.text or "")[-5:]) for part in told.outputs] == [
        ("update_display_data", "new"), ("error", ": bad"),
    ]  # fmt: skip
