"""The commands about files beside a notebook. A change of files makes a version, as a change of cells does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg

from services.catalog import changing, store
from services.catalog.cell_ids import Numbering
from services.catalog.files import file_set
from services.catalog.files.file_set import FileSet
from services.catalog.model import Definition, check_precondition, is_version
from shared.command_log import WriteTransaction
from shared.contracts.base import Nothing, Scope
from shared.contracts.files import (
    CheckFiles,
    DeleteFile,
    FileInfo,
    FindFile,
    FindUsedContents,
    ListFiles,
    NotebookFiles,
    PutFiles,
    UsedContents,
)
from shared.errors import Fault, Invalid, NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from services.catalog.app import Catalog

NO_FILE = "The notebook has no such file."


async def list_files(app: Catalog, command: ListFiles, _context: Context) -> NotebookFiles:
    """Return all files of a version."""
    row = await _row(app, command)
    return _answer(command.notebook_id, row, FileSet.stored(row["files"]))


async def find_file(app: Catalog, command: FindFile, _context: Context) -> FileInfo:
    """Return one file of a version; raises NotFound."""
    files = FileSet.stored((await _row(app, command))["files"])
    entry = files.entries.get(command.path)
    if entry is None:
        raise NotFound(NO_FILE)
    return file_set.shown(command.path, entry)


async def check_files(app: Catalog, command: CheckFiles, _context: Context) -> Nothing:
    """Raise what `put_files` would; nothing is changed."""
    async with app.database.connection() as connection:
        row = await _present(store.Outside(connection), command.scope, command.notebook_id)
    files = FileSet.stored(row["files"])
    others = _etags_of_one(files, command)
    check_precondition(command.precondition, etag=row["etag"], modified_at=row["modified_at"], others=others)
    file_set.check(command.files, files.with_files(command.files, replace_all=command.replace))
    return Nothing()


async def put_files(app: Catalog, command: PutFiles, context: Context) -> NotebookFiles:
    """Make a version with these files."""

    def change(current: Definition, _numbering: Numbering) -> Definition:
        wanted = current.files.with_files(command.files, replace_all=command.replace)
        file_set.check(command.files, wanted)
        return replace(current, files=wanted)

    return await _changed(app, command, context, change, shown=[file.path for file in command.files])


async def delete_file(app: Catalog, command: DeleteFile, context: Context) -> NotebookFiles:
    """Make a version without one file; raises NotFound."""

    def change(current: Definition, _numbering: Numbering) -> Definition:
        if command.path not in current.files.entries:
            raise NotFound(NO_FILE)
        return replace(current, files=current.files.without(command.path))

    return await _changed(app, command, context, change, shown=[])


async def find_used_contents(app: Catalog, command: FindUsedContents, _context: Context) -> UsedContents:
    """Return those of the contents that the notebook has."""
    scope = command.scope
    async with app.database.connection() as connection:
        rows = await connection.fetch(
            store.queries.used_contents, command.notebook_id, scope.tenant_id, scope.project_id, command.sha256s
        )
    return UsedContents(sha256s=[row["sha256"] for row in rows])


async def _changed(
    app: Catalog, command: PutFiles | DeleteFile, context: Context, change: changing.Change, *, shown: list[str]
) -> NotebookFiles:
    def other_etags(current: Definition) -> list[str]:
        return _etags_of_one(current.files, command)

    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        await changing.apply_change(
            transaction,
            command,
            change,
            precondition=command.precondition,
            other_etags=other_etags,
            message=command.change_message,
        )
        return transaction.reply(await _after(transaction, command, shown))


async def _after(transaction: WriteTransaction, command: PutFiles | DeleteFile, shown: list[str]) -> NotebookFiles:
    row = await _present(transaction.sql, command.scope, command.notebook_id)
    return _answer(command.notebook_id, row, FileSet.stored(row["files"]), shown)


def _etags_of_one(files: FileSet, command: PutFiles | CheckFiles | DeleteFile) -> list[str]:
    """Return the etag of the one file that the command is about, if it is there: GET shows clients that one, too."""
    paths = [command.path] if isinstance(command, DeleteFile) else [file.path for file in command.files]
    entry = files.entries.get(paths[0]) if len(paths) == 1 else None
    return [] if entry is None else [entry.sha256]


async def _row(app: Catalog, command: ListFiles | FindFile) -> asyncpg.Record:
    """Return the files of the version asked for. Raises NotFound without the notebook, Invalid without the version."""
    scope, notebook_id, version = command.scope, command.notebook_id, command.version
    async with app.database.connection() as connection:
        reader = store.Outside(connection)
        if version is None or is_version(version):
            row = await reader.row(store.queries.files, notebook_id, scope.tenant_id, scope.project_id, version)
            if row is not None:
                return row
        present = await store.found(reader, store.queries.standing, scope, notebook_id)
    message = f"there is no such version; the present one is {present['version']}"
    raise Invalid(f"For this notebook {message}.", faults=[Fault(path="version", message=message)])


async def _present(reader: store.Reader, scope: Scope, notebook_id: UUID) -> asyncpg.Record:
    return await store.found(reader, store.queries.files, scope, notebook_id, None)


def _answer(
    notebook_id: UUID, row: asyncpg.Record, files: FileSet, shown: Iterable[str] | None = None
) -> NotebookFiles:
    return NotebookFiles(
        notebook_id=notebook_id,
        notebook_version=row["version"],
        etag=row["etag"] if row["version"] == row["present"] else None,
        files=files.shown(shown),
        total_count=len(files.entries),
        total_bytes=files.total_bytes,
    )
