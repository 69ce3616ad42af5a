"""The commands that artifacts answers about contents of notebooks' files."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from services.artifacts import storage
from services.artifacts.store import queries
from shared import tickets
from shared.contracts.base import Scope
from shared.contracts.files import (
    FileUploadTicket,
    LocateContents,
    OpenFileUpload,
    StoredContent,
    StoredContents,
)
from shared.contracts.transfers import FILE_UPLOAD, TICKET_LIFE_S, FileUpload
from shared.database import Transaction
from shared.errors import NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.artifacts.app import App


async def open_file_upload(app: App, command: OpenFileUpload, _context: Context) -> FileUploadTicket:
    """Reserve the contents that are there for the notebook, and name the others. Raises NotFound for a notebook that
    was deleted, and TooLarge when the project has no room for the others."""
    scope, wanted = command.scope, {content.sha256: content.size_bytes for content in command.contents}
    async with app.database.transaction() as tx:
        await begin(tx, scope, command.notebook_id)
        rows = await tx.fetch(queries.known_contents, scope.tenant_id, scope.project_id, list(wanted))
        known = {row["sha256"] for row in rows}
        await reserve(tx, scope, command.notebook_id, list(known))
    missing = sorted(wanted.keys() - known)
    if missing:
        await storage.require_room(app, scope, wanted_bytes=sum(wanted[one] for one in missing))
    claims = FileUpload(scope=scope, notebook_id=command.notebook_id)
    ticket = tickets.sign(
        claims.model_dump(mode="json", by_alias=True),
        key=app.internal_secret,
        purpose=FILE_UPLOAD,
        life_s=TICKET_LIFE_S,
    )
    url = f"{app.settings.artifacts_url.rstrip('/')}/internal/files"
    return FileUploadTicket(url=url, ticket=ticket, missing=missing)


async def locate_contents(app: App, command: LocateContents, _context: Context) -> StoredContents:
    """Return where the contents are that the notebook needs."""
    scope = command.scope
    async with app.database.connection() as connection:
        rows = await connection.fetch(
            queries.locate_contents, scope.tenant_id, scope.project_id, command.notebook_id, command.sha256s
        )
    return StoredContents(contents=[StoredContent(**dict(row)) for row in rows])


async def begin(tx: Transaction, scope: Scope, notebook_id: UUID) -> None:
    """Take the project's lock on contents, for a notebook that is to need some. Raises NotFound when it was deleted."""
    await tx.execute(queries.lock_shared, str(notebook_id))
    if await tx.value(queries.find_tombstone, [notebook_id]):
        raise NotFound("There is no such notebook.")
    await lock(tx, scope)


async def lock(tx: Transaction, scope: Scope) -> None:
    """Take the project's lock on contents, until the end of the transaction."""
    await tx.execute(queries.lock_file_contents, f"{scope.tenant_id} {scope.project_id}")


async def reserve(tx: Transaction, scope: Scope, notebook_id: UUID, sha256s: list[str]) -> None:
    """Note that the notebook needs these contents, which are there."""
    await tx.execute(queries.reserve_contents, scope.tenant_id, scope.project_id, notebook_id, sha256s)


async def release(tx: Transaction, scope: Scope, notebook_id: UUID) -> int:
    """Have the contents removed that only this notebook needs; returns how many those are."""
    await lock(tx, scope)
    await tx.execute(queries.release_contents, scope.tenant_id, scope.project_id, notebook_id)
    return await tx.execute(queries.remove_unused_contents, scope.tenant_id, scope.project_id)
