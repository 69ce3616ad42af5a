"""What a project stores: added up, compared with its quota, and run by run for its retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.artifacts.store import queries
from shared.contracts.base import Scope
from shared.contracts.storage import ListStoredRuns, MeasureStorage, StorageUse, StoredRun, StoredRuns
from shared.errors import TooLarge
from shared.responder import Context

if TYPE_CHECKING:
    from services.artifacts.app import App


async def measure_storage(app: App, command: MeasureStorage, _context: Context) -> StorageUse:
    """Add up what the project takes."""
    return await use_of(app, command.scope)


async def list_stored_runs(app: App, command: ListStoredRuns, _context: Context) -> StoredRuns:
    """What runs take, the oldest ones singly."""
    owner = (command.scope.tenant_id, command.scope.project_id)
    async with app.database.connection() as connection:
        total = await connection.fetchval(queries.run_bytes, *owner)
        rows = await connection.fetch(queries.oldest_runs, *owner, command.limit)
    oldest = [StoredRun(execution_id=row["execution_id"], size_bytes=row["size_bytes"]) for row in rows]
    return StoredRuns(total_bytes=total, oldest=oldest)


async def use_of(app: App, scope: Scope) -> StorageUse:
    """What a project takes. Reads a row for each of its artifacts: for people and uploads, not for every run."""
    async with app.database.connection() as connection:
        row = await connection.fetchrow(queries.storage_use, scope.tenant_id, scope.project_id)
        runs = await connection.fetchval(queries.run_bytes, scope.tenant_id, scope.project_id)
    return StorageUse(
        dataset_bytes=row["dataset_bytes"],
        run_bytes=runs,
        library_bytes=row["library_bytes"],
        file_bytes=row["file_bytes"],
        total_bytes=row["dataset_bytes"] + row["library_bytes"] + row["file_bytes"] + runs,
        quota_bytes=app.settings.project_max_bytes,
    )


async def require_room(app: App, scope: Scope, *, wanted_bytes: int | None = None) -> None:
    """Raise TooLarge when the project has used up its quota, or has no room for so many bytes. An upload of unknown
    size may go over it once."""
    quota = app.settings.project_max_bytes
    if quota is None:
        return
    use = await use_of(app, scope)
    if use.total_bytes >= quota or use.total_bytes + (wanted_bytes or 0) > quota:
        raise TooLarge(
            f"The project's storage is used up: {use.total_bytes:,} of {quota:,} bytes"
            + (f", and this needs {wanted_bytes:,} more" if wanted_bytes is not None else "")
            + ". Delete datasets, libraries or executions, or set a retention policy, and try again."
        )
