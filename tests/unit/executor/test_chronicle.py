"""How much a run tells of the progress within its cells."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock
from uuid import uuid4

import pytest

from services.executor.running import chronicle
from services.executor.running.chronicle import Chronicle
from shared.contracts.base import Scope
from shared.contracts.execution_events import CellProgressed
from shared.contracts.executions import CellResult


def told(fractions: list[float], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The fractions that become facts of those that come in one moment."""
    monkeypatch.setattr(chronicle, "time", SimpleNamespace(monotonic=lambda: 1_000.0))
    identity, scope = uuid4(), Scope(tenant_id=uuid4(), project_id=uuid4())
    cells = [CellResult(cell_id=name, status="Pending") for name in ("a", "b")]
    claim = Mock(id=identity, scope=scope, cells=cells, row={"notebook_id": identity}, epoch=1)
    writer = Mock()
    story = Chronicle(claim, writer)
    story.cell_started("a")
    for fraction in fractions:
        story.cell_progressed(fraction, "")
    facts = [call.args[0].event for call in writer.add.call_args_list]
    return [fact.fraction for fact in facts if isinstance(fact, CellProgressed)]


def test_of_what_comes_at_once_the_first_and_the_end_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told([0.1, 0.2, 0.3, 1.0], monkeypatch) == [0.1, 1.0]


def test_an_end_that_is_told_without_end_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told([1.0] * 100, monkeypatch) == [1.0]
    assert told([0.5, 1.0] * 100, monkeypatch) == [0.5, 1.0]
