"""What a project stores, and how long it keeps its runs: the commands about both, and their shapes on the API."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from shared.contracts.base import Body, Command, Moment, Wire
from shared.contracts.datasets import ArtifactsCommand
from shared.contracts.executions import ControlCommand


class RetentionPolicy(Body):
    """Which ended runs a project keeps; a member that is null sets no bound."""

    max_age_days: int | None = Field(None, ge=1, le=36_500, description="runs that ended longer ago are removed")
    max_runs_per_notebook: int | None = Field(None, ge=1, le=1_000_000, description="only the newest so many are kept")
    max_bytes: int | None = Field(None, ge=0, description="the oldest runs are removed until the rest take no more")


class Retention(RetentionPolicy):
    """The policy in force. The newest completed run of each notebook is always kept."""

    date_modified: Moment | None = Field(None, description="null: never set, everything is kept")
    modified_by: str | None = None
    last_applied: Moment | None = None


class GetRetention(ControlCommand, Command[Retention]):
    """The project's policy."""


class SetRetention(ControlCommand, Command[Retention]):
    """Replace the project's policy; it is applied soon after, and then regularly."""

    write = True
    policy: RetentionPolicy


class StorageUse(Wire):
    """What a project takes in the object store and in rows, in bytes."""

    dataset_bytes: int = Field(description="all versions of all datasets")
    run_bytes: int = Field(description="outputs, enriched datasets, models, reports and executed notebooks")
    library_bytes: int
    file_bytes: int = Field(0, description="files beside notebooks, each content once")
    total_bytes: int
    quota_bytes: int | None = Field(description="uploads are refused beyond it; null: no quota")


class MeasureStorage(ArtifactsCommand, Command[StorageUse]):
    """Add up what the project takes."""


class StoredRun(Wire):
    """What one run takes."""

    execution_id: UUID
    size_bytes: int


class StoredRuns(Wire):
    """What all runs take together, and each of the oldest ones."""

    total_bytes: int
    oldest: list[StoredRun]


class ListStoredRuns(ArtifactsCommand, Command[StoredRuns]):
    """The runs that have stored something, oldest first."""

    limit: int = 1_000
