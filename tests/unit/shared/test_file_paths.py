"""Paths of files beside a notebook: what people write, what attackers write, and what file managers leave."""

from __future__ import annotations

import re

import pytest

from shared import file_paths


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("helpers.py", "helpers.py"),
        ("./helpers.py", "helpers.py"),
        (".//data/lookup.csv", "data/lookup.csv"),
        ("pkg/__init__.py", "pkg/__init__.py"),
        ("Daten/Größe 1.csv", "Daten/Größe 1.csv"),
        ("e\u0301te\u0301.csv", "\u00e9t\u00e9.csv"),  # as macOS writes it in archives
        ("日本語/データ.csv", "日本語/データ.csv"),
        ("a b/c-d_e (1).txt", "a b/c-d_e (1).txt"),
        ("...", "..."),
        ("..data", "..data"),
        (".env", ".env"),
        ("👩‍👩‍👧.png", "👩‍👩‍👧.png"),
        ("A.py", "A.py"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_path_is_kept(given: str, kept: str) -> None:
    assert file_paths.checked(given) == kept


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "empty"),
        ("./", "empty"),
        ("/etc/passwd", "absolute"),
        (".//../x", "'..'"),
        ("../x", "'..'"),
        ("a/../../x", "'..'"),
        ("a/..", "'..'"),
        ("a/./b", "'.'"),
        ("a//b", "empty name"),
        ("a/", "empty name"),
        ("data\\lookup.csv", "backslash"),
        ("C:\\x", "backslash"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\x7fb", "control character"),
        ("a\x85b", "control character"),
        ("a\u2028b", "line break"),
        ("a\ud800b", "Unicode"),
        ("x" * 256, "more than 255 bytes"),
        ("ü" * 128, "more than 255 bytes"),
        ("/".join(["x" * 200] * 6), "at most 1,024"),
        ("x" * 5_000_000, "at most 1,024"),
        ("/".join("a" * 40), "folders"),
        (".atelier/1.json", "reserved"),
        ("pkg/__pycache__/a.pyc", "reserved"),
        (".ipynb_checkpoints/a-checkpoint.ipynb", "reserved"),
    ],
)
def test_a_path_is_refused_with_its_reason(given: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        file_paths.checked(given)


def test_composing_a_path_made_of_marks_takes_no_time() -> None:
    # Sorting combining marks takes time in the square of their number: 20 s for these, were they sorted.
    assert "at most" in str(file_paths.fault_of(file_paths.normalized("a" + "\u0315\u0316" * 200_000)))


def test_a_file_is_no_folder() -> None:
    paths = {"data", "data/lookup.csv", "data.csv", "a/b", "a/b/c/d", "other/data"}
    assert file_paths.collisions(paths) == [("a/b", "a/b/c/d"), ("data", "data/lookup.csv")]


@pytest.mark.parametrize("path", ["__MACOSX/._a.py", "a/.DS_Store", "Thumbs.db", "a/._b.csv", "x/__pycache__/y.pyc"])
def test_what_file_managers_leave(path: str) -> None:
    assert file_paths.is_leftover(path)
    assert not file_paths.is_leftover("a/b.py")


def test_folders_come_after_those_around_them() -> None:
    assert file_paths.folders_of(["b/c/d/x", "a/y", "z"]) == ["a", "b", "b/c", "b/c/d"]


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("a/HELPERS.PY", "text/x-python"),
        ("lookup.csv", "text/csv"),
        ("plot.png", "image/png"),
        ("no_suffix", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"),
    ],
)
def test_media_types(path: str, media_type: str) -> None:
    assert file_paths.media_type_of(path) == media_type
