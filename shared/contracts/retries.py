"""Retries: which failures of a run are followed by another attempt, how often, and after how long."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.contracts.base import Body, Moment, Wire

RetryCause = Literal["error", "timeout", "dead_kernel", "lost"]
"""Why an attempt failed: an error of a cell, of its environment or of a store; a time limit of the run or of a cell; a
kernel that died; a worker that was lost."""

MAX_RETRIES = 10
"""Attempts that may follow the first by policy."""

MAX_BACKOFF_S = 3600
"""The longest wait before an attempt, in seconds."""


class Retry(Body):
    """When a failed run is begun anew. Attempts that a lost worker costs, up to two, come in addition."""

    limit: int = Field(ge=0, le=MAX_RETRIES, description="how many attempts may follow the first")
    on: list[RetryCause] = Field(
        ["timeout", "dead_kernel", "lost"],
        min_length=1,
        max_length=4,
        description="which failures count: `error` (of a cell, an environment or a store), `timeout` (a time limit), "
        "`dead_kernel`, `lost` (more workers lost than are made good anyway)",
    )
    backoff_seconds: int = Field(0, ge=0, le=MAX_BACKOFF_S, description="seconds to wait before the next attempt")
    exponential: bool = Field(False, description="double the wait with every retry, up to 3600 seconds")


class Attempt(Wire):
    """One attempt of a run: the same execution from its first cell."""

    attempt: int
    started_at: Moment
    ended_at: Moment | None
    status: Literal["Running", "Completed", "Error", "Cancelled"]
    error_type: str | None = None
    error_message: str | None = None
    failed_cell: str | None = None
