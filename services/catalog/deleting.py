"""The end of a notebook: hidden at once, by the caller's command or by executor's word, whichever comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.catalog import store
from services.catalog.automation.fires import queries as automatic
from services.catalog.model import check_precondition
from shared.command_log import WriteTransaction, forget_replies
from shared.contracts.base import Nothing, Scope
from shared.contracts.execution_events import NotebookBlocked
from shared.contracts.notebooks import DeleteNotebook, NotebookDeleted, ReserveDeletion
from shared.envelope import Envelope
from shared.errors import NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from uuid import UUID

    from services.catalog.app import Catalog
    from shared.database import Transaction


RESERVED_S = 30.0
"""How long a deletion keeps changes out, in seconds: longer than one takes, should its gateway die on the way."""


async def reserve_deletion(app: Catalog, command: ReserveDeletion, context: Context) -> Nothing:
    """Let nobody change the notebook while executor ends its runs: the state that the caller saw is what is deleted."""
    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        row = await store.found(transaction.sql, store.queries.lock, command.scope, command.notebook_id)
        if not command.release:
            check_precondition(command.precondition, etag=row["etag"], modified_at=row["modified_at"])
        seconds = None if command.release else RESERVED_S
        await transaction.sql.execute(store.queries.reserve, command.notebook_id, seconds)
        return transaction.reply(Nothing())


async def delete_notebook(app: Catalog, command: DeleteNotebook, context: Context) -> Nothing:
    """Hide the notebook; the fact that it is gone sets the purge going in every service."""
    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        row = await store.found(transaction.sql, store.queries.lock, command.scope, command.notebook_id)
        check_precondition(command.precondition, etag=row["etag"], modified_at=row["modified_at"])
        if not await _hide(transaction, command.scope, command.notebook_id, command.caller.subject):
            raise NotFound("There is no such notebook.")
        transaction.reply(Nothing())
    app.purge.wake()
    return Nothing()


async def on_notebook_blocked(app: Catalog, event: NotebookBlocked, envelope: Envelope) -> None:
    """The same when the gateway died between executor's step and ours: a deletion that began is finished."""
    async with app.database.transaction(cause=envelope) as transaction:
        hidden = await _hide(transaction, event.scope, event.notebook_id, event.changed_by)
    if hidden:
        app.purge.wake()


async def _hide(transaction: Transaction | WriteTransaction, scope: Scope, notebook_id: UUID, changed_by: str) -> bool:
    """Hide the notebook and tell everybody; False when it is hidden or gone already."""
    sql = transaction.sql if isinstance(transaction, WriteTransaction) else transaction
    row = await sql.row(store.queries.hide, notebook_id, scope.tenant_id, scope.project_id)
    if row is None:
        return False
    await sql.execute(automatic.remove, notebook_id)  # nothing starts by itself from here on
    await sql.execute(automatic.unlink, notebook_id)
    await forget_replies(sql, notebook_id)
    transaction.emit(
        NotebookDeleted(
            scope=scope,
            notebook_id=notebook_id,
            notebook_name=row["name"],
            notebook_version=row["version"],
            changed_by=changed_by.replace("\x00", ""),
        )
    )
    return True
