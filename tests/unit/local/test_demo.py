"""How the demo follows a run, names files and reads settings; the API is a stand-in without a network."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo import __main__ as demo
from examples.demo import following, saving, showing
from examples.demo.api import Api, ApiError, Json, ServerSentEvent

FIRST = {"cellId": "c1", "status": "Success", "executionTimeSeconds": 1.5}
SECOND = {"cellId": "c2", "status": "Error", "executionTimeSeconds": 0.2}
CELL_1 = {"type": "execution.cell_completed", "data": FIRST}
CELL_2 = {"type": "execution.cell_completed", "data": SECOND}
STATUS = {"status": "Error", "cellResults": [FIRST, SECOND]}


class ScriptedApi(Api):
    """Answers from a script: lists of events (None: the stream breaks off), and status objects."""

    def __init__(self, streams: list[list[Json | None]], statuses: list[Json]) -> None:
        super().__init__("http://localhost", "t", "p", "key")
        self.streams = streams
        self.statuses = statuses
        self.resumed_after: list[str] = []
        self.number = 0

    def events(self, path: str, after: str) -> Iterator[ServerSentEvent]:
        self.resumed_after.append(after)
        for content in self.streams.pop(0) if self.streams else [None]:
            if content is None:
                raise ApiError("the event stream broke off")
            self.number += 1
            yield ServerSentEvent(str(self.number), content)

    def get(self, path: str, **query: str | int) -> Json:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def download(self, url: str, target: Path) -> int:
        return target.write_bytes(url.encode())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.0)


def followed(api: Api) -> tuple[Json, str]:
    out = io.StringIO()
    console = Console(file=out, width=100)
    with following.Display(console, {"c1": "Load the log", "c2": "Train [a] model"}, 2) as display:
        status = following.follow(api, "notebook/n/execution/e", display)
    return status, out.getvalue()


def test_each_cell_is_shown_as_it_ends() -> None:
    status, shown = followed(ScriptedApi([[CELL_1, CELL_2]], [STATUS]))
    assert status["status"] == "Error"
    assert [line.split() for line in shown.splitlines()] == [
        ["✓", "1/2", "Success", "1.50", "s", "Load", "the", "log"],
        ["✗", "2/2", "Error", "0.20", "s", "Train", "[a]", "model"],
    ]


def test_a_broken_stream_is_resumed_after_the_last_event_seen() -> None:
    api = ScriptedApi([[CELL_1, None], [CELL_2]], [STATUS])
    _, shown = followed(api)
    assert api.resumed_after == ["", "1"]
    assert len(shown.splitlines()) == 2


def test_without_events_the_status_is_polled() -> None:
    running = {"status": "Running", "cellResults": [FIRST, {"cellId": "c2", "status": "Running"}]}
    status, shown = followed(ScriptedApi([], [running, STATUS]))
    assert status["status"] == "Error"
    assert "asking for the status instead" in shown
    assert [line.split()[1] for line in shown.splitlines()[1:]] == ["1/2", "2/2"]


def test_a_run_that_begins_again_is_counted_anew() -> None:
    requeued = {"type": "execution.requeued", "data": {"reason": "its worker was lost"}}
    _, shown = followed(ScriptedApi([[CELL_1, requeued, CELL_1, CELL_2]], [STATUS]))
    assert [line.split()[1] for line in shown.splitlines() if "/2" in line] == ["1/2", "1/2", "2/2"]


def test_text_cells_count_without_a_line_of_their_own() -> None:
    text = {"type": "execution.cell_completed", "data": {"cellId": "c1", "status": "Success"}}
    _, shown = followed(ScriptedApi([[text, CELL_2]], [STATUS]))
    assert [line.split()[1] for line in shown.splitlines()] == ["2/2"]


def test_files_get_names_of_their_own_and_the_next_run_replaces_them(tmp_path: Path) -> None:
    api = ScriptedApi([], [{}])
    (tmp_path / "mine.txt").write_text("the user's")
    saver = saving.Saver(api, tmp_path)
    saver.fetch("http://x/1", "plot-Cases per day", ".png", "chart")
    saver.fetch("http://x/2", "plot-cases / per day!", ".png", "chart")
    assert (tmp_path / "plot-cases-per-day.png").read_text() == "http://x/1"
    assert (tmp_path / "plot-cases-per-day-2.png").read_text() == "http://x/2"
    saving.Saver(api, tmp_path).fetch("http://x/3", "model-M", ".pkl", "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contents.json", "mine.txt", "model-m.pkl"]
    assert json.loads((tmp_path / "contents.json").read_text()) == [{"file": "model-m.pkl", "what": "model"}]


def test_a_listing_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("kept")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/contents.json").write_text(json.dumps([{"file": "../outside.txt", "what": ""}]))
    saving.Saver(ScriptedApi([], [{}]), tmp_path / "out")
    assert outside.read_text() == "kept"


def test_cells_are_named_by_the_heading_above() -> None:
    cells = [
        {"cellId": "a", "cellType": "code", "content": "# no heading"},
        {"cellId": "b", "cellType": "markdown", "content": "## Variants\n\ntext"},
        {"cellId": "c", "cellType": "code", "content": "x = 1"},
    ]
    assert showing.cell_titles({"cells": cells}) == {"a": "a", "b": "Variants", "c": "Variants"}


def test_settings_come_from_dev_env_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (*demo.SETTINGS, "ATELIER_DATASET")
    for name in names:
        monkeypatch.setenv(name, "from the environment")
    assert set(demo.settings(tmp_path / "none").values()) == {"from the environment"}
    (tmp_path / "dev.env").write_text("".join(f"{name}='from the file'\n" for name in names))
    assert set(demo.settings(tmp_path / "dev.env").values()) == {"from the file"}


def test_a_missing_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_URL", "http://localhost")
    monkeypatch.delenv("ATELIER_API_KEY", raising=False)
    with pytest.raises(demo.Unusable, match="ATELIER_API_KEY"):
        demo.settings(tmp_path / "none")


def test_a_log_that_is_not_there_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(demo.Unusable, match="there is no file"):
        demo.run(Console(file=io.StringIO()), {}, tmp_path / "missing.csv", tmp_path)
