"""The disk is full while a run's folder is filled: the run ends with that reason."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock
from uuid import uuid4

import pytest

from services.executor.running import folder
from services.executor.running.run import Run
from shared.contracts.executions import CellResult, ExecutionRequest


async def test_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "fill", fill)
    request, identity = ExecutionRequest(), uuid4()
    notebook = MagicMock(content={"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, files={})
    cells = [CellResult(cell_id="a", status="Pending")]
    row = {"last_seq": 1, "notebook_id": identity, "created_by": "tests", "epoch": 1, "execution_id": identity}
    claim: Any = SimpleNamespace(
        id=identity, epoch=1, request=request, notebook=notebook, dataset=None, cells=cells, row=row, parameters={},
        scope=SimpleNamespace(tenant_id=identity, project_id=identity),
    )  # fmt: skip
    environment = SimpleNamespace(environment_id="e", python=None, source="base", readable=())
    kernel = SimpleNamespace(run_dir=tmp_path, exited=asyncio.get_running_loop().create_future())
    means: Any = Mock(
        environments=Mock(prepare=AsyncMock(return_value=environment)),
        kernels=Mock(acquire=AsyncMock(return_value=kernel)),
    )
    run = Run(claim, means, tmp_path)
    monkeypatch.setattr(run, "_find_environment", AsyncMock(return_value=environment))
    monkeypatch.setattr(run, "_description", dict)
    monkeypatch.setattr(run, "_chronicle", Mock())
    verdict = await run._verdict_or_incident()
    assert (verdict.state, verdict.error_type, verdict.cause) == ("Error", "InternalError", None)
    assert verdict.error_message is not None
    assert "filling the run's folder (No space left on device)" in verdict.error_message
