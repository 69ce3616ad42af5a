"""What a run produces is stored once, also when more is found while it is being stored."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from services.executor.collecting.collector import Collector
from services.executor.collecting.counts import Counts
from services.executor.collecting.saved_artifacts import SavedArtifacts


def save(run_dir: Path, number: int, name: str) -> None:
    record = {"schemaVersion": 1, "kind": "value", "name": name, "value": number}
    (run_dir / "outputs" / ".atelier" / f"{number:06}.json").write_text(json.dumps(record))


async def test_what_is_found_while_something_is_being_stored_does_not_store_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outputs" / ".atelier").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    collector = Collector(Mock(), tmp_path, Mock(), objects=Mock(), requests=Mock(ask=AsyncMock()), max_bytes=1_000)
    stored: list[str] = []
    began, go_on = asyncio.Event(), asyncio.Event()

    async def store(_self: SavedArtifacts, _cell_id: str | None, saved: Any) -> Counts:
        stored.append(saved.record.name)
        began.set()
        await go_on.wait()
        return Counts()

    monkeypatch.setattr(SavedArtifacts, "add", store)
    save(tmp_path, 1, "first")
    await collector.note_result()
    storing = asyncio.create_task(collector.register(final=False))
    await began.wait()
    save(tmp_path, 2, "second")
    await collector.note_result()
    go_on.set()
    await storing
    collector.close()
    assert stored == ["first", "second"]
