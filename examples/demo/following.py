"""Follows a run by its events and shows a progress bar, or plain lines where there is no terminal."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from examples.demo.api import Api, ApiError, Json

ENDED = frozenset({"Completed", "Error", "Cancelled"})
STREAM_ATTEMPTS = 3  # how often in a row the stream may break off without a new event before polling takes over
RETRY_SECONDS = 0.5  # the pause after a first failure; each further one is longer by as much
POLL_WAIT_SECONDS = 10  # the API holds a status read back for so long when nothing changes
MARKS = {"Success": "[green]✓[/]", "Error": "[red]✗[/]", "Skipped": "[dim]-[/]", "Cancelled": "[yellow]■[/]"}


@dataclass(frozen=True, kw_only=True)
class CellDone:
    """One finished cell."""

    cell_id: str
    status: str
    seconds: float | None


class Display:
    """The bar: one step a cell, and within a cell what the cell itself reports."""

    def __init__(self, console: Console, titles: Mapping[str, str], total: int) -> None:
        self._console = console
        self._titles = titles
        self._total = total
        self._done: dict[str, str] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("waiting for a worker", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """What goes on, beside the bar."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=escape(text))
        else:
            self._console.print(f"  {text}", markup=False, highlight=False)

    def working_on(self, cell_id: str, fraction: float = 0.0, message: str = "") -> None:
        """A cell has begun, or says how far it is."""
        title = self._titles.get(cell_id, cell_id)
        note = f": {message}" if message else ""
        self._bar.update(self._task, description=escape(title + note), completed=len(self._done) + fraction)

    def cell_done(self, cell: CellDone) -> None:
        """A cell came to its end; told twice, it is shown once."""
        if self._done.get(cell.cell_id) == cell.status:
            return
        self._done[cell.cell_id] = cell.status
        self._bar.update(self._task, completed=len(self._done))
        if cell.status == "Success" and cell.seconds is None:
            return  # text: nothing ran, so that it only counts
        took = "" if cell.seconds is None else f"{cell.seconds:6.2f} s"
        mark = MARKS.get(cell.status, "?")
        title = escape(self._titles.get(cell.cell_id, cell.cell_id))
        step = f"{len(self._done):>3}/{self._total}"
        self._console.print(f"  {mark} {step}  {cell.status:<8}{took:>9}  {title}", highlight=False)

    def restart(self) -> None:
        """The run was taken up anew from its first cell."""
        self._done.clear()
        self._bar.update(self._task, completed=0)


def follow(api: Api, path: str, display: Display) -> Json:
    """Shows the run until it has ended and returns its status object. Raises ApiError."""
    last = ""
    failures = 0
    while failures < STREAM_ATTEMPTS:
        try:
            for event in api.events(f"{path}/events", last):
                failures = 0
                last = event.id or last
                _show(event.content, display)
            # The stream ends after the terminal event; the status says so too, or the connection was cut.
            status = api.get(path)
            if status["status"] in ENDED:
                return status
            failures += 1
        except ApiError as error:
            failures += 1
            time.sleep(failures * RETRY_SECONDS)
            if failures == STREAM_ATTEMPTS:
                display.say(f"{error}; asking for the status instead")
    for status in _polled(api, path):
        for cell in status["cellResults"]:
            if cell["status"] in MARKS:
                seconds = cell.get("executionTimeSeconds")
                display.cell_done(CellDone(cell_id=cell["cellId"], status=cell["status"], seconds=seconds))
        if status["status"] in ENDED:
            return status
    raise AssertionError("polling ends by a terminal status or an ApiError")


def _polled(api: Api, path: str) -> Iterator[Json]:
    yield api.get(path)
    while True:
        yield api.get(path, wait=POLL_WAIT_SECONDS)


def _show(event: Json, display: Display) -> None:
    """Shows one event of a run (docs/events.md lists them)."""
    data = event.get("data") or {}
    match str(event.get("type", "")).rpartition(".")[2]:
        case "phase_changed":
            display.say(_words(data["phase"]))
        case "cell_started":
            display.working_on(data["cellId"])
        case "cell_progressed":
            display.working_on(data["cellId"], data["fraction"], data["message"])
        case "cell_completed":
            seconds = data.get("executionTimeSeconds")
            display.cell_done(CellDone(cell_id=data["cellId"], status=data["status"], seconds=seconds))
        case "requeued":
            display.say(f"back in the queue: {data['reason']}")
            display.restart()


def _words(name: str) -> str:
    """`PreparingEnvironment` as `preparing environment`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
