from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.executor.collecting.beneath import Refused
from services.executor.collecting.saved import SavedFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outputs" / ".atelier").mkdir(parents=True)
    return tmp_path / "outputs"


def record(folder: Path, number: int, **members: Any) -> None:
    (folder / ".atelier" / f"{number:06}.json").write_text(json.dumps({"schemaVersion": 1, **members}))


def test_records_are_read_once_and_in_order(folder: Path) -> None:
    record(folder, 2, kind="value", name="b", value={"x": 1})
    record(folder, 1, kind="value", name="a", value=None)
    saved = SavedFiles(folder, max_bytes=1_000_000)
    assert [item.record.name for item in saved.new()] == ["a", "b"]
    assert list(saved.new()) == []
    record(folder, 3, kind="value", name="c", value=3)
    assert [item.record.value for item in saved.new()] == [3]


def test_a_model_carries_its_members(folder: Path) -> None:
    (folder / "m.pkl").write_bytes(b"x")
    record(folder, 1, kind="model", name="m", file="m.pkl", modelType="Forest", metrics={"auc": 0.7}, features=["f"])
    (item,) = SavedFiles(folder, max_bytes=1_000_000).new()
    assert (item.file_name, item.size) == ("m.pkl", 1)
    assert item.details["modelType"] == "Forest"
    assert item.details["metrics"] == {"auc": 0.7}


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"kind": "model", "name": "m"}', '{"kind": "unknown", "name": "m"}']
)
def test_a_faulty_record_becomes_a_warning_and_the_rest_is_kept(folder: Path, text: str) -> None:
    (folder / ".atelier" / "000001.json").write_text(text)
    record(folder, 2, kind="value", name="good", value=1)
    saved = SavedFiles(folder, max_bytes=1_000_000)
    assert [item.record.name for item in saved.new()] == ["good"]
    assert len(saved.warnings) == 1
    assert "000001.json" in saved.warnings[0]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (
            {"kind": "value", "name": "n", "value": {"a": [0, 2**64]}},
            "value.a.1 is a whole number of more than 64 bits",
        ),
        ({"kind": "model", "name": "n", "file": "f", "metrics": {"m": -(2**70)}}, "metrics.m is a whole number"),
        ({"kind": "enriched_dataset", "name": "n", "file": "f", "columnTypes": ["string"] * 150_000}, "columnTypes"),
        ({"kind": "value", "name": "n", "value": [[]] * 1_000_000}, "more than 1,000,000 values"),
    ],
)
def test_what_a_reader_would_round_or_not_hold_is_refused_with_its_place(
    folder: Path, members: dict[str, Any], says: str
) -> None:
    (folder / "f").write_bytes(b"x")
    record(folder, 1, **members)
    saved = SavedFiles(folder, max_bytes=1_000_000)
    assert list(saved.new()) == []
    assert says in saved.warnings[0]


@pytest.mark.parametrize("trick", ["outside", "symlink", "hardlink", "folder", "missing"])
def test_files_outside_the_folder_or_reached_by_tricks_are_refused(folder: Path, tmp_path: Path, trick: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    name = "f.html"
    if trick == "outside":
        name = "../secret"
    elif trick == "symlink":
        (folder / name).symlink_to(secret)
    elif trick == "hardlink":
        os.link(secret, folder / name)
    elif trick == "folder":
        (folder / name).mkdir()
    record(folder, 1, kind="report", name="r", file=name)
    saved = SavedFiles(folder, max_bytes=1_000_000)
    assert list(saved.new()) == []
    assert len(saved.warnings) == 1


def test_a_record_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    target.write_text(json.dumps({"kind": "value", "name": "x", "value": 1}))
    (folder / ".atelier" / "000001.json").symlink_to(target)
    assert list(SavedFiles(folder, max_bytes=1_000_000).new()) == []


def test_a_folder_of_records_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / ".atelier").rename(elsewhere)
    (elsewhere / "000001.json").write_text(json.dumps({"kind": "value", "name": "x", "value": 1}))
    (folder / ".atelier").symlink_to(elsewhere)
    assert list(SavedFiles(folder, max_bytes=1_000_000).new()) == []


def test_a_loose_file_counts_once_however_often_it_is_stored(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"x" * 600)
    (folder / "b.txt").write_bytes(b"x" * 600)
    saved = SavedFiles(folder, max_bytes=1_000)
    for _ in range(5):  # the object store was away
        saved.open_loose("a.txt").close()
    assert saved.warnings == []
    with pytest.raises(Refused):
        saved.open_loose("b.txt")
