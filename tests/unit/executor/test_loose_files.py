"""Files in the outputs folder that no record names."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from services.executor.collecting import loose_files


def test_regular_files_are_found_with_folder_and_type(tmp_path: Path) -> None:
    (tmp_path / ".atelier").mkdir()
    (tmp_path / ".atelier" / "000001.json").write_text("{}")
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for name in ("a.csv", "sub/b.parquet", "sub/deep/c", "known.pkl"):
        (tmp_path / name).write_text("x")
    found = loose_files.find(tmp_path, {"known.pkl"}, [])
    assert [(file.name, file.content_type) for file in found] == [
        ("a.csv", "text/csv"),
        ("sub/b.parquet", "application/vnd.apache.parquet"),
        ("sub/deep/c", "application/octet-stream"),
    ]


def test_links_pipes_and_odd_names_are_passed_over(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s3cret")
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "link").symlink_to(outside / "secret")
    (outputs / "folder").symlink_to(outside)
    os.link(outside / "secret", outputs / "hard")
    os.mkfifo(outputs / "pipe")
    (outputs / "line\nbreak").write_text("x")
    warnings: list[str] = []
    assert loose_files.find(outputs, set(), warnings) == []
    assert len(warnings) == 1
    assert "unusable name" in warnings[0]


def test_there_is_a_limit(tmp_path: Path) -> None:
    for number in range(loose_files.MAX_FILES + 1):
        (tmp_path / f"{number:05}").touch()
    warnings: list[str] = []
    assert len(loose_files.find(tmp_path, set(), warnings)) == loose_files.MAX_FILES
    assert warnings == ["Only the first 1,000 files left in the outputs folder were kept."]


def test_what_goes_away_or_becomes_a_link_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s3cret")
    outputs = tmp_path / "outputs"
    (outputs / "swapped").mkdir(parents=True)
    for name in ("gone", "stays"):
        (outputs / name).touch()
    scandir = os.scandir

    def listed_then_changed(folder: Any) -> Any:
        entries = list(scandir(folder))
        (outputs / "gone").unlink(missing_ok=True)
        return nullcontext(entries)

    open_ = os.open

    def swapped_then_opened(path: Any, *arguments: Any, **more: Any) -> int:
        if Path(path).name == "swapped" and not (outputs / "swapped").is_symlink():
            (outputs / "swapped").rmdir()
            (outputs / "swapped").symlink_to(outside)
        return open_(path, *arguments, **more)

    monkeypatch.setattr(os, "scandir", listed_then_changed)
    monkeypatch.setattr(os, "open", swapped_then_opened)
    assert [file.name for file in loose_files.find(outputs, set(), [])] == ["stays"]


def test_records_alone_are_nothing_left(tmp_path: Path) -> None:
    (tmp_path / ".atelier").mkdir()
    assert not loose_files.any_in(tmp_path)
    assert not loose_files.any_in(tmp_path / "missing")
    (tmp_path / "left").touch()
    assert loose_files.any_in(tmp_path)
