"""The native stack asks what the machine allows, and says so where that is little."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import isolation
from deploy.local.isolation import Allowed


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    isolation.allowed.cache_clear()
    yield
    isolation.allowed.cache_clear()


def answer(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if isinstance(result, Exception):
            raise result
        return subprocess.CompletedProcess(argv, 0, json.dumps(result), "")

    monkeypatch.setattr(subprocess, "run", run)


def test_the_highest_level_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"level": "strong", "missing": []})
    assert isolation.allowed(Path("python")) == Allowed(level="strong", missing=[])
    assert isolation.allowed(Path("python")).warning is None


@pytest.mark.parametrize("level", ["confined", "none"])
def test_less_is_warned_of_with_what_is_missing(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    answer(monkeypatch, {"level": level, "missing": ["net (switched off)"]})
    warning = isolation.allowed(Path("python")).warning
    assert warning is not None
    assert f"'{level}' only" in warning
    assert "net (switched off)" in warning


@pytest.mark.parametrize(
    "trouble",
    [subprocess.CalledProcessError(1, "python", stderr="no such module"), OSError("gone"), {"unexpected": 1}],
)
def test_what_cannot_be_found_out_is_nothing(monkeypatch: pytest.MonkeyPatch, trouble: object) -> None:
    answer(monkeypatch, trouble)
    allowed = isolation.allowed(Path("python"))
    assert allowed.level == "none"
    assert allowed.missing
