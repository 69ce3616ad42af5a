"""What a run starts from: the claimed row with everything pinned for it, and what the worker gives each run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from services.executor import model, parameter_rules
from services.executor.environments.preparing import Environments
from services.executor.kernels.port import KernelSource
from services.executor.running.dataset_cache import DatasetCache
from services.executor.running.file_cache import FileCache
from services.executor.running.guard import Allowance
from services.executor.views import request_of
from shared.contracts.base import Scope
from shared.contracts.datasets import PinnedDataset
from shared.contracts.executions import CellResult, ExecutionRequest
from shared.contracts.notebooks import PinnedNotebook
from shared.database import Database
from shared.objects import ObjectStore
from shared.requests import Requests


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a slot gives its runs."""

    database: Database
    objects: ObjectStore
    requests: Requests
    kernels: KernelSource
    environments: Environments
    datasets: DatasetCache
    files: FileCache
    allowance: Allowance
    shutdown_grace_s: float
    """How long a kernel may take to end by itself after its last cell, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run as claimed: its row under the new epoch and what was pinned for it."""

    row: asyncpg.Record
    notebook: PinnedNotebook
    dataset: PinnedDataset | None
    cells: list[CellResult]

    @property
    def id(self) -> UUID:
        """The execution's id."""
        identity: UUID = self.row["execution_id"]
        return identity

    @property
    def epoch(self) -> int:
        """The epoch under which this worker may write."""
        epoch: int = self.row["epoch"]
        return epoch

    @property
    def scope(self) -> Scope:
        """Whose run it is."""
        return Scope(tenant_id=self.row["tenant_id"], project_id=self.row["project_id"])

    @property
    def parameters(self) -> dict[str, Any]:
        """The values that the notebook is given."""
        return parameter_rules.seen_by_run(self.notebook, self.request.parameters)

    @property
    def replayed(self) -> list[str]:
        """Ids of the cells that are run before the first one that counts."""
        cells = self.notebook.content["cells"]
        covered = model.cells_asked_for(cells, self.request)
        return [cells[at]["id"] for at in model.cells_from(cells, covered, self.row["from_cell"])[0]]

    @property
    def request(self) -> ExecutionRequest:
        """What was asked for."""
        return request_of(self.row)
