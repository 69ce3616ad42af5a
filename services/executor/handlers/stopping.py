"""Stopping: cancelling a run, blocking a notebook before its deletion, purging what has ended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import structlog

from services.executor import ending, model, retention, store
from services.executor.store import queries
from shared.command_log import GONE, forget_replies
from shared.contracts.base import Nothing
from shared.contracts.execution_events import ExecutionPurged, NotebookBlocked
from shared.contracts.executions import BlockNotebook, CancelExecution, Execution, PurgeExecution
from shared.contracts.notebooks import NotebookDeleted
from shared.database import Transaction
from shared.envelope import Envelope
from shared.errors import Conflict, DeadlineExceeded, NotFound, Unavailable
from shared.responder import Context

if TYPE_CHECKING:
    from services.executor.app import ControlApp

log = structlog.get_logger(__name__)

POLL_S = 0.05
"""How often a forced block looks whether the last run has ended, in seconds."""

CLOSING_S = 15.0
"""How long a forced block keeps new runs out, in seconds: longer than it may take, and no longer than that."""

REPLY_MARGIN_S = 0.5
"""A forced block gives up this long before its deadline, so that the answer arrives, in seconds."""


class Halfway(Unavailable):
    """A forced deletion gave up after it had cancelled executions: it did not happen, but it had an effect."""

    def __init__(self) -> None:
        super().__init__(
            "The notebook is not deleted: its executions are being stopped and did not end in time. Try again soon.",
            extra={"outcomeUnknown": True},
        )


async def cancel_execution(app: ControlApp, command: CancelExecution, context: Context) -> Execution:
    """End a queued run at once; flag a running one and nudge its worker."""
    async with app.database.connection() as connection:
        await store.find(connection, command.scope, command.execution_id, command.notebook_id)
    async with context.transaction() as transaction:
        row = await cancel_in(transaction.sql, command.execution_id)
        if row is None:
            raise Conflict("The execution has already ended.")
        view = await store.view(transaction.sql.connection, row, app.settings)
        answer = transaction.reply(view, subject=command.execution_id)
    await app.broker.publish_nudge()
    return answer


async def cancel_in(transaction: Transaction, execution_id: UUID) -> asyncpg.Record | None:
    """Cancel inside an open transaction; returns the run's row afterwards, None when it had ended or is gone."""
    seen = await transaction.row("SELECT * FROM execution WHERE execution_id = $1", execution_id)
    if seen is None:
        return None
    await transaction.row(queries.lock_notebook, seen["notebook_id"], seen["tenant_id"], seen["project_id"])
    await transaction.row(queries.lock_tenant, seen["tenant_id"])
    row = await transaction.row(queries.lock_execution, execution_id)
    if row is None or row["state"] in model.ENDED:
        return None
    if row["state"] in model.WAITING:
        return await ending.end_as_found(transaction, row, model.CANCELLED)
    await transaction.execute(queries.request_cancel, execution_id)
    return row


async def block_notebook(app: ControlApp, command: BlockNotebook, context: Context) -> Nothing:
    """Write the tombstone. With `force`, first cancel what runs and wait for its end (decision 5, delete)."""
    try:
        return await _block(command, context)
    except Conflict:
        if not command.force:
            raise
    await _close(app, command)
    try:
        return await _block_when_stopped(app, command, context)
    except (Unavailable, DeadlineExceeded) as error:
        raise Halfway from error


async def _block_when_stopped(app: ControlApp, command: BlockNotebook, context: Context) -> Nothing:
    while True:
        async with app.database.connection() as connection:
            running = await connection.fetch(queries.active_runs_of_notebook, command.notebook_id)
        await cancel_all(app, [row["execution_id"] for row in running])
        await _pause_before(context)
        try:
            return await _block(command, context)
        except Conflict as conflict:
            log.debug("executions have not ended yet", reason=conflict.detail)


async def _close(app: ControlApp, command: BlockNotebook) -> None:
    """Let no run in while those there are end: a client that goes on executing would keep the deletion waiting."""
    scope = command.scope
    async with app.database.transaction() as transaction:
        if await transaction.row(queries.lock_notebook, command.notebook_id, scope.tenant_id, scope.project_id) is None:
            raise NotFound("There is no such notebook.")
        await transaction.execute(queries.close_notebook, command.notebook_id, CLOSING_S)


async def _block(command: BlockNotebook, context: Context) -> Nothing:
    scope = command.scope
    async with context.transaction() as transaction:
        sql = transaction.sql
        if await sql.row(queries.lock_notebook, command.notebook_id, scope.tenant_id, scope.project_id) is None:
            raise NotFound("There is no such notebook.")
        if await sql.fetch(queries.active_runs_of_notebook, command.notebook_id):
            raise Conflict("The notebook is being executed; wait, cancel, or delete with ?force=true.")
        await sql.execute(queries.block_notebook, command.notebook_id)
        transaction.emit(
            NotebookBlocked(scope=scope, notebook_id=command.notebook_id, changed_by=command.caller.subject)
        )
        return transaction.reply(Nothing())


async def cancel_all(app: ControlApp, execution_ids: list[UUID]) -> None:
    """Cancel each, in a transaction of its own; those that have ended meanwhile are left alone."""
    for execution_id in execution_ids:
        async with app.database.transaction() as transaction:
            await cancel_in(transaction, execution_id)
    await app.broker.publish_nudge()


async def _pause_before(context: Context) -> None:
    deadline = context.deadline
    if deadline and (deadline - datetime.now(UTC)).total_seconds() < REPLY_MARGIN_S:
        raise DeadlineExceeded("The notebook's executions did not end in time.")
    await asyncio.sleep(POLL_S)


async def purge_execution(app: ControlApp, command: PurgeExecution, context: Context) -> Nothing:
    """Remove an ended run; artifacts removes what it stored when it hears the fact."""
    async with app.database.connection() as connection:
        await store.find(connection, command.scope, command.execution_id, command.notebook_id)
    async with context.transaction() as transaction:
        seen = await transaction.sql.row(queries.find_state, command.execution_id)
        if seen is not None and not await retention.remove_in(transaction.sql, command.scope, command.execution_id):
            raise Conflict("The execution has not ended; cancel it first.")
        return transaction.reply(Nothing())


async def on_notebook_deleted(app: ControlApp, event: NotebookDeleted, envelope: Envelope) -> None:
    """Remove every run of a deleted notebook; the bare tombstone stays.

    Artifacts knows what a run stored by its manifest. A run that never sealed one may have left objects all the same,
    when its worker was killed: for those the fact of each removal is told."""
    async with app.database.transaction(cause=envelope) as transaction:
        scope = event.scope
        if await transaction.row(queries.lock_notebook, event.notebook_id, scope.tenant_id, scope.project_id) is None:
            log.error("deletion of a notebook of another project", notebook_id=str(event.notebook_id))
            return
        await transaction.execute(queries.block_notebook, event.notebook_id)
        for row in await transaction.fetch(queries.unsealed_runs, event.notebook_id):
            transaction.emit(
                ExecutionPurged(scope=event.scope, execution_id=row["execution_id"], notebook_id=event.notebook_id)
            )
        await transaction.execute(queries.forget_replies_of_executions, event.notebook_id, GONE.encode())
        await transaction.execute(queries.remove_executions_of_notebook, event.notebook_id)
        await transaction.execute(queries.empty_tombstone, event.notebook_id)
        await transaction.execute(queries.forget_automatic_starts, event.notebook_id)
        await forget_replies(transaction, event.notebook_id)
