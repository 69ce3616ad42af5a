"""Fixtures of the artifacts unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.artifacts.conversions import Workbench


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A place to convert files in."""
    return Workbench(tmp_path)
