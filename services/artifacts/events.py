"""What artifacts does when a notebook or a run is gone: bury it, remove its objects, then its rows, then say so.

The message stays unacknowledged until all is done, so that a crash anywhere repeats the rest (DESIGN.md decision 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from services.artifacts import kept_replies, model
from services.artifacts.files import commands as file_contents
from services.artifacts.store import queries
from shared.contracts.base import Event, Scope
from shared.contracts.execution_events import ExecutionPurged
from shared.contracts.notebooks import NotebookDeleted
from shared.contracts.results import ArtifactsPurged
from shared.envelope import Envelope
from shared.subscriber import EventHandler

if TYPE_CHECKING:
    from services.artifacts.app import App


async def on_notebook_deleted(app: App, event: NotebookDeleted, envelope: Envelope) -> None:
    """Remove everything of all runs of the notebook, and its files that no other one has."""
    if await _bury(app, event.notebook_id):
        return
    async with app.database.connection() as connection:
        rows = await connection.fetch(
            queries.executions_of_notebook, event.notebook_id, event.scope.tenant_id, event.scope.project_id
        )
    executions = [row["execution_id"] for row in rows]
    async with app.database.transaction() as tx:
        files = await file_contents.release(tx, event.scope, event.notebook_id)
    app.removals.wake()
    await app.removals.remove_now(kept_replies.prefix(event.notebook_id))
    fact = ArtifactsPurged(scope=event.scope, notebook_id=event.notebook_id, object_count=files)
    await _purge(app, event.notebook_id, executions, fact, envelope)


async def on_execution_purged(app: App, event: ExecutionPurged, envelope: Envelope) -> None:
    """Remove everything of one run."""
    if await _bury(app, event.execution_id):
        return
    await app.removals.remove_now(kept_replies.prefix(event.notebook_id, event.execution_id))
    fact = ArtifactsPurged(
        scope=event.scope, notebook_id=event.notebook_id, execution_id=event.execution_id, object_count=0
    )
    await _purge(app, event.execution_id, [event.execution_id], fact, envelope)


async def _bury(app: App, buried: UUID) -> bool:
    """From now on nothing is registered for this id; returns whether it was purged before."""
    async with app.database.transaction() as tx:
        await tx.execute(queries.lock_exclusive, str(buried))
        await tx.execute(queries.bury, buried)
        return bool(await tx.value(queries.is_purged, buried))


async def _purge(app: App, buried: UUID, executions: list[UUID], fact: ArtifactsPurged, envelope: Envelope) -> None:
    scope = fact.scope
    removed = fact.object_count
    for execution_id in executions:
        removed += await _remove_objects(app, scope, execution_id)
    async with app.database.transaction(cause=envelope) as tx:
        await tx.execute(queries.delete_manifests, executions, scope.tenant_id, scope.project_id)
        if await tx.value(queries.mark_purged, buried):
            tx.emit(fact.model_copy(update={"object_count": removed}))


async def _remove_objects(app: App, scope: Scope, execution_id: UUID) -> int:
    return await app.removals.remove_now(model.execution_prefix(scope, execution_id))


EVENTS: Mapping[type[Event], EventHandler] = {
    NotebookDeleted: on_notebook_deleted,
    ExecutionPurged: on_execution_purged,
}
