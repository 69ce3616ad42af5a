"""What executor knows of runs that have been, for the service that keeps lists: the command it rebuilds them with."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Command, Moment, Wire
from shared.contracts.executions import CellActivity, ControlCommand, ExecutionStatus

RUNS_AT_ONCE = 1_000
"""Runs of one notebook in one answer; the rest is asked for with `before`."""


class PastRun(Wire):
    """What the newest fact of a run says that a projection counts."""

    execution_id: UUID
    last_seq: int = Field(
        description="number of the terminal fact; while the run has not ended, of the fact that it was queued or begun"
    )
    accepted_at: Moment
    ended_at: Moment | None
    outcome: ExecutionStatus | None
    notebook_status: Literal["Ready", "Error", "Kernel_Dead"] | None


class PastRuns(Wire):
    """The runs of a notebook, newest first, and what they left behind on its cells."""

    notebook_id: UUID
    runs: list[PastRun]
    more: bool
    last_ended_at: Moment | None
    execution_count: int | None = Field(None, description="runs ever accepted; null from an older executor")
    cells: dict[str, CellActivity]


class RunHistory(Wire):
    """The answer; notebooks that executor does not know are not in it."""

    as_of: Moment
    notebooks: list[PastRuns]


class GetRunHistory(ControlCommand, Command[RunHistory]):
    """The runs of some notebooks of the project; with `before`, those of one notebook that were accepted until then."""

    notebook_ids: list[UUID]
    before: Moment | None = None
