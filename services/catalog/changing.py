"""Changes to notebooks: the merge of a PUT, and single cells. Each makes a version, or none when nothing changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from services.catalog import binding, cell_changes, merge, store
from services.catalog.cell_ids import Numbering
from services.catalog.model import Definition, check_precondition, next_modification, next_version
from shared.command_log import WriteTransaction
from shared.contracts.base import Nothing, OptionalId
from shared.contracts.files import DeleteFile, PutFiles
from shared.contracts.notebooks import (
    AddCell,
    CheckUpdate,
    DeleteCell,
    Notebook,
    NotebookUpdated,
    Precondition,
    UpdateCell,
    UpdateNotebook,
)
from shared.contracts.versions import RestoreVersion
from shared.errors import Conflict, Fault, NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.catalog.app import Catalog

Change = Callable[[Definition, Numbering], Definition]
"""What the notebook is to become. Raises what the caller did wrong."""

OtherEtags = Callable[[Definition], Collection[str]]
"""What else, beside the notebook's own etag, names the state that a change expects."""

MESSAGE_LENGTH = 2_000
"""Characters kept of a change message."""


async def update_notebook(app: Catalog, command: UpdateNotebook, context: Context) -> Notebook:
    """RFC 7396 merge of the body of a PUT."""
    precondition = merge.precondition_in(command.patch, command.precondition)
    unbindable = await _binding_faults(app, command)

    def change(current: Definition, numbering: Numbering) -> Definition:
        return merge.update(current, command.patch, numbering, unbindable, shown_python=command.shown_python)

    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        return transaction.reply(
            await apply(transaction, command, change, precondition=precondition, message=command.change_message)
        )


async def check_update(app: Catalog, command: CheckUpdate, _context: Context) -> Nothing:
    """Everything that `update_notebook` checks but the precondition; nothing is changed."""
    unbindable = await _binding_faults(app, command)
    async with app.database.connection() as connection:
        reader = store.Outside(connection)
        current = await store.found(reader, store.queries.version, command.scope, command.notebook_id, None)
    # No cell is kept: which number comes next does not matter.
    await asyncio.to_thread(merge.update, store.definition(current), command.patch, Numbering(), unbindable)
    return Nothing()


async def add_cell(app: Catalog, command: AddCell, context: Context) -> Notebook:
    """One more cell at the end."""

    def change(current: Definition, numbering: Numbering) -> Definition:
        return replace(current, document=cell_changes.added(current.document, command.cell, numbering))

    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        return transaction.reply(
            await apply(transaction, command, change, precondition=Precondition(), message=command.change_message)
        )


async def update_cell(app: Catalog, command: UpdateCell, context: Context) -> Notebook:
    """RFC 7396 merge into one cell."""

    def change(current: Definition, _numbering: Numbering) -> Definition:
        _require_cell(current, command.cell_id)
        return replace(current, document=cell_changes.updated(current.document, command.cell_id, command.patch))

    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        return transaction.reply(
            await apply(transaction, command, change, precondition=command.precondition, message=command.change_message)
        )


async def delete_cell(app: Catalog, command: DeleteCell, context: Context) -> Notebook:
    """The notebook without one cell."""

    def change(current: Definition, _numbering: Numbering) -> Definition:
        _require_cell(current, command.cell_id)
        rest = [cell for cell in current.document.cells if cell["id"] != command.cell_id]
        return replace(current, document=current.document.with_cells(rest))

    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        return transaction.reply(
            await apply(transaction, command, change, precondition=command.precondition, message=command.change_message)
        )


async def apply(
    transaction: WriteTransaction,
    command: UpdateNotebook | AddCell | UpdateCell | DeleteCell | RestoreVersion,
    change: Change,
    *,
    precondition: Precondition,
    message: str | None = None,
    restored_from: str | None = None,
) -> Notebook:
    """`apply_change`, answered with the notebook."""
    await apply_change(
        transaction, command, change, precondition=precondition, message=message, restored_from=restored_from
    )
    return await store.get(transaction.sql, command.scope, command.notebook_id)


async def apply_change(
    transaction: WriteTransaction,
    command: UpdateNotebook | AddCell | UpdateCell | DeleteCell | RestoreVersion | PutFiles | DeleteFile,
    change: Change,
    *,
    precondition: Precondition,
    other_etags: OtherEtags | None = None,
    message: str | None = None,
    restored_from: str | None = None,
) -> None:
    """Lock, check, change, and keep the outcome as a version. Concurrent writers come one after the other."""
    scope, notebook_id = command.scope, command.notebook_id
    locked = await store.found(transaction.sql, store.queries.lock, scope, notebook_id)
    if locked["reserved"]:
        raise Conflict("The notebook is being deleted; it takes no change any more.", extra={"deleting": True})
    current = store.definition(await store.found(transaction.sql, store.queries.version, scope, notebook_id, None))
    others = () if other_etags is None else other_etags(current)
    check_precondition(precondition, etag=locked["etag"], modified_at=locked["modified_at"], others=others)
    numbering = Numbering(locked["highest_cell_number"])
    wanted, changed_cells = await asyncio.to_thread(_changed, change, current, numbering)
    if wanted is not None:
        author = command.caller.subject.replace("\x00", "")
        at = next_modification(locked["modified_at"], locked["now"])
        wanted = replace(wanted, files=wanted.files.dated(at))
        content_changed = (
            wanted.document.sha256 != current.document.sha256
            or wanted.files.fingerprint() != current.files.fingerprint()
        )
        version = next_version(locked["version"], content_changed=content_changed)
        await store.add_version(
            transaction.sql,
            notebook_id,
            wanted,
            changed_cells,
            version=version,
            highest_cell_number=numbering.highest,
            at=at,
            author=author,
            message=kept_message(message),
            restored_from=restored_from,
        )
        transaction.emit(
            NotebookUpdated(
                scope=scope,
                notebook_id=notebook_id,
                notebook_name=wanted.name,
                notebook_version=version,
                changed_by=author,
            )
        )


def _changed(change: Change, current: Definition, numbering: Numbering) -> tuple[Definition | None, list[str]]:
    """What the notebook becomes, None when it stays as it is, and the ids of its new and changed cells. A large one
    takes its time to be changed, written and hashed."""
    wanted = change(current, numbering)
    if wanted.fingerprint() == current.fingerprint():
        return None, []
    before = {cell["id"]: cell for cell in current.document.cells}
    return wanted, [cell["id"] for cell in wanted.document.cells if before.get(cell["id"]) != cell]


def kept_message(message: str | None) -> str | None:
    """A change message as it is stored."""
    return (message or "").replace("\x00", "").strip()[:MESSAGE_LENGTH] or None


async def _binding_faults(app: Catalog, command: UpdateNotebook | CheckUpdate) -> list[Fault]:
    """A fault when the patch binds another dataset than the present one, and there is none such.

    Asked before the transaction, which must not wait for another service. A binding that stays is not asked about: its
    dataset may be gone by now, and a PUT of what GET said must work all the same.
    """
    try:
        dataset_id: UUID | None = TypeAdapter(OptionalId).validate_python(merge.new_binding(command.patch))
    except ValidationError:
        return []  # said with all other faults of the merge
    if dataset_id is None:
        return []
    async with app.database.connection() as connection:
        present = await store.get(store.Outside(connection), command.scope, command.notebook_id)
    if dataset_id == present.integration.dataset_binding:
        return []
    return await binding.faults_of(
        app.requests, command.scope, command.caller, dataset_id, "integration.datasetBinding"
    )


def _require_cell(current: Definition, cell_id: str) -> None:
    if all(cell["id"] != cell_id for cell in current.document.cells):
        raise NotFound("The notebook has no such cell.")
