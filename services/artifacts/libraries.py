"""The commands that artifacts answers about libraries."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
from packaging.utils import canonicalize_name

from services.artifacts import claim_checks, library_files, model, storage, versions
from services.artifacts.library_files import LibraryFile
from services.artifacts.store import queries
from shared import cursors
from shared.command_log import WriteTransaction
from shared.contracts.base import Nothing
from shared.contracts.libraries import (
    DeleteLibrary,
    Library,
    LibraryPage,
    ListLibraries,
    PinLibraries,
    PinnedLibraries,
    PinnedLibrary,
    StoreLibrary,
)
from shared.errors import NotFound, Unavailable
from shared.responder import Context

if TYPE_CHECKING:
    from services.artifacts.app import App

STILL_READ_S = 3_600.0
"""How long the file of a removed library stays: a run may have found it just before, in seconds."""


async def store_library(app: App, command: StoreLibrary, context: Context) -> Library:
    """Keep a library, in place of one of the same name; raises Invalid for a file that is none, Unavailable."""
    with app.workspace.folder() as folder:
        path = folder / "library"
        try:
            await claim_checks.fetch(app.objects, command.reference, path)
        except NotFound as error:
            raise Unavailable("The file did not stay long enough; upload it again.") from error
        file, size, sha256 = await asyncio.to_thread(_looked_at, path, command.file_name)
        await storage.require_room(app, command.scope)
        return await _stored(app, command, context, path, file, size=size, sha256=sha256)


def _looked_at(path: Path, file_name: str) -> tuple[LibraryFile, int, str]:
    """What a file is, its size and its hash."""
    with path.open("rb") as content:
        file = library_files.read(file_name, content)
        content.seek(0)
        return file, path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()


async def _stored(
    app: App, command: StoreLibrary, context: Context, path: Path, file: LibraryFile, *, size: int, sha256: str
) -> Library:
    scope, name_key = command.scope, canonicalize_name(file.name)
    key = model.library_key(scope, uuid4())
    await versions.announce(app, key)
    try:
        await app.objects.put_file(key, path, model.BINARY_TYPE)
        async with context.transaction() as tx:
            if await tx.sql.value(queries.seal_object, key) is None:
                raise versions.GivenUp("The upload took too long to be stored; try again.")
            await _take(tx, command, name_key)
            row = await tx.sql.row(
                queries.insert_library,
                scope.tenant_id,
                scope.project_id,
                name_key,
                file.name,
                file.kind,
                file.version,
                file.requires,
                command.file_name,
                key,
                size,
                sha256,
                command.caller.subject,
            )
            assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
            return tx.reply(_library(row))
    except BaseException:
        await asyncio.shield(versions.abandon(app, key))
        raise


async def delete_library(_app: App, command: DeleteLibrary, context: Context) -> Nothing:
    """Remove a library and, later, its file; raises NotFound."""
    async with context.transaction() as tx:
        if not await _take(tx, command, canonicalize_name(command.library_name)):
            raise NotFound("There is no such library.")
        return tx.reply(Nothing())


async def list_libraries(app: App, command: ListLibraries, _context: Context) -> LibraryPage:
    """A page of the project's libraries, by name."""
    owner = (command.scope.tenant_id, command.scope.project_id)
    after = cursors.place(command.cursor, str)[0] if command.cursor else None
    size, offset = command.page_size, 0 if after else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        total = await connection.fetchval(queries.count_libraries, *owner)
        rows = await connection.fetch(queries.list_libraries, *owner, after, size + 1, offset)
    shown, more = rows[:size], len(rows) > size
    return LibraryPage(
        items=[_library(row) for row in shown],
        total_count=total,
        page=command.page,
        page_size=size,
        has_next_page=more,
        next_cursor=cursors.cursor(shown[-1]["name_key"]) if more else None,
    )


async def pin_libraries(app: App, command: PinLibraries, _context: Context) -> PinnedLibraries:
    """Those of the names that the project has."""
    names = [canonicalize_name(name) for name in command.library_names]
    async with app.database.connection() as connection:
        rows = await connection.fetch(queries.find_libraries, command.scope.tenant_id, command.scope.project_id, names)
    found = [
        PinnedLibrary(library=_library(row), requires=row["requires"], object_key=row["object_key"]) for row in rows
    ]
    return PinnedLibraries(libraries=found)


async def _take(tx: WriteTransaction, command: StoreLibrary | DeleteLibrary, name_key: str) -> bool:
    scope = command.scope
    await tx.sql.execute(queries.lock_library, f"{scope.tenant_id} {scope.project_id} {name_key}")
    old = await tx.sql.value(queries.take_library, scope.tenant_id, scope.project_id, name_key)
    if old is None:
        return False
    await tx.sql.execute(queries.request_removal, old, STILL_READ_S)
    return True


def _library(row: asyncpg.Record) -> Library:
    return Library(
        library_name=row["library_name"],
        kind=row["kind"],
        version=row["version"],
        file_name=row["file_name"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        date_created=row["date_created"],
        created_by=row["created_by"],
    )
