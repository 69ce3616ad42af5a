"""A notebook's history: its versions, the differences between two, and what is made from one again."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import structlog

from services.catalog import changing, child_calls, creating, large_contents, store
from services.catalog.cell_ids import Numbering
from services.catalog.differences import settings
from services.catalog.differences.operations import Operations
from services.catalog.document import metadata_of, tags_of
from services.catalog.files import file_set
from services.catalog.files.file_set import FileSet
from services.catalog.importing import NAME_LENGTH
from services.catalog.model import Definition, is_version
from shared import cursors
from shared.contracts.base import Scope
from shared.contracts.files import ContentSize, OpenFileUpload
from shared.contracts.notebooks import Integration, Notebook
from shared.contracts.versions import (
    CellDifference,
    CopyNotebook,
    DiffVersions,
    GetVersion,
    HtmlPage,
    ListVersions,
    NotebookDiff,
    NotebookVersion,
    RestoreVersion,
    ShowDiff,
    VersionCell,
    VersionPage,
    VersionSummary,
)
from shared.errors import Fault, Invalid, NotFound, Unavailable
from shared.responder import Context

if TYPE_CHECKING:
    from services.catalog.app import Catalog

log = structlog.get_logger(__name__)

_NEWEST = 2**62
"""Above every ordinal."""


async def list_versions(app: Catalog, command: ListVersions, _context: Context) -> VersionPage:
    """A page of the history, newest first."""
    before = _NEWEST if command.cursor is None else cursors.place(command.cursor, int)[0]
    offset = 0 if command.cursor is not None else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        reader = store.Outside(connection)
        total = (await store.found(reader, store.queries.history_length, command.scope, command.notebook_id))["ordinal"]
        rows = await connection.fetch(
            store.queries.versions, command.notebook_id, before, command.page_size + 1, offset
        )
    shown = rows[: command.page_size]
    more = len(rows) > len(shown)
    return VersionPage(
        versions=[VersionSummary(**_summary(row)) for row in shown],
        total_count=total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=more,
        next_cursor=cursors.cursor(shown[-1]["ordinal"]) if more else None,
    )


async def get_version(app: Catalog, command: GetVersion, context: Context) -> NotebookVersion:
    """One version, whole."""
    (row,) = await _contents(app, command, context, [command.version])
    definition = await store.parsed(row)
    return NotebookVersion(
        **_summary(row),
        notebook_id=command.notebook_id,
        notebook_description=definition.description,
        integration=definition.integration,
        environment=definition.environment,
        parameters=orjson.loads(row["parameters"]),
        cells=[
            VersionCell(
                cell_id=cell["id"],
                cell_type=cell["cell_type"],
                content=cell["source"],
                tags=tags_of(cell),
                metadata=metadata_of(cell),
            )
            for cell in definition.document.cells
        ],
        files=definition.files.references(),
    )


async def diff_versions(app: Catalog, command: DiffVersions, context: Context) -> NotebookDiff:
    """How one version differs from another."""
    diff, _ = await _diff(app, command, context)
    return diff


async def show_diff(app: Catalog, command: ShowDiff, context: Context) -> HtmlPage:
    """The same as a page to read."""
    diff, name = await _diff(app, command, context)
    owner = str(command.scope.tenant_id)
    html = await child_calls.render_page(app.children, diff, name, owner=owner, deadline=context.deadline)
    return HtmlPage(html=html)


async def restore_version(app: Catalog, command: RestoreVersion, context: Context) -> Notebook:
    """An earlier definition as a new version. A dataset that it was bound to may be gone; runs say so then."""
    async with app.turns.of(command.notebook_id, context.deadline), context.transaction() as transaction:
        row = await _find(transaction.sql, command.scope, command.notebook_id, command.version)
        earlier = await store.parsed(row)

        def change(_current: Definition, _numbering: Numbering) -> Definition:
            return earlier

        return transaction.reply(
            await changing.apply(
                transaction,
                command,
                change,
                precondition=command.precondition,
                message=command.change_message,
                restored_from=command.version,
            )
        )


async def copy_notebook(app: Catalog, command: CopyNotebook, context: Context) -> Notebook:
    """A new notebook with the cells, files and settings of another. It does not run by itself until somebody says
    so."""
    request, notebook_id = command.request, uuid4()
    kept = await _keep_contents(app, command, context, notebook_id)
    async with context.transaction() as transaction:
        row = await _asked(transaction.sql, command.scope, command.notebook_id, request.version)
        original = await store.parsed(row)
        if not kept >= set(original.files.hashes):
            raise Unavailable("The notebook's files were changed while it was copied; nothing was done. Try again.")
        definition = replace(
            original,
            name=request.notebook_name or f"Copy of {original.name}"[:NAME_LENGTH].strip(),
            integration=Integration(
                enrichment_mode=original.integration.enrichment_mode,
                dataset_binding=original.integration.dataset_binding,
                output_format=original.integration.output_format,
                error_policy=original.integration.error_policy,
            ),
        )
        numbering = Numbering(known=[cell["id"] for cell in definition.document.cells])
        return transaction.reply(
            await creating.insert(
                transaction,
                command.scope,
                command.caller,
                definition,
                numbering.highest,
                command.change_message,
                notebook_id=notebook_id,
            )
        )


async def _keep_contents(app: Catalog, command: CopyNotebook, context: Context, notebook_id: UUID) -> AbstractSet[str]:
    """Have artifacts keep the bytes of the original's files for the copy, too, before there is one: they must outlive
    the original. Returns their hashes. What a copy that never comes leaves reserved, artifacts gives up by itself."""
    await context.recall()
    async with app.database.connection() as connection:
        row = await _asked(store.Outside(connection), command.scope, command.notebook_id, command.request.version)
    files = FileSet.stored(row["files"])
    if not files.entries:
        return frozenset()
    contents = [ContentSize(sha256=file.sha256, size_bytes=file.size_bytes) for file in files.references()]
    opened = await app.requests.ask(
        OpenFileUpload(scope=command.scope, caller=command.caller, notebook_id=notebook_id, contents=contents)
    )
    if opened.missing:
        raise NotFound("The notebook's files are gone.")
    return frozenset(files.hashes)


async def _diff(app: Catalog, command: DiffVersions | ShowDiff, context: Context) -> tuple[NotebookDiff, str]:
    """The diff and the notebook's name in `b`."""
    rows = await _contents(app, command, context, [command.a, command.b])
    a, b = map(store.definition, rows)
    differences: list[CellDifference] = []
    operations: Operations = []
    if a.document.sha256 != b.document.sha256 or a.kernel_type != b.kernel_type:
        owner = str(command.scope.tenant_id)
        differences, operations = await child_calls.compare(app.children, a, b, owner=owner, deadline=context.deadline)
    found, files = settings.compare(a, b), file_set.compare(a.files, b.files)
    diff = NotebookDiff(
        notebook_id=command.notebook_id,
        a=command.a,
        b=command.b,
        equal=not (operations or found or files),
        settings=found,
        cells=differences,
        files=files,
        diff=operations,
    )
    return diff, b.name


async def _contents(
    app: Catalog, command: GetVersion | DiffVersions | ShowDiff, context: Context, versions: list[str]
) -> list[asyncpg.Record]:
    """Versions named in an address, with memory for them. Raises NotFound and Unavailable."""

    async def reading(reader: store.Reader) -> list[asyncpg.Record]:
        return [await _find(reader, command.scope, command.notebook_id, version) for version in versions]

    known = [version for version in versions if is_version(version)]
    return await large_contents.read(app, context, command.scope, command.notebook_id, known, reading)


async def _find(reader: store.Reader, scope: Scope, notebook_id: UUID, version: str) -> asyncpg.Record:
    """A version named in an address. Raises NotFound."""
    row = None
    if is_version(version):
        row = await reader.row(store.queries.version, notebook_id, scope.tenant_id, scope.project_id, version)
    if row is None:
        present = await store.found(reader, store.queries.standing, scope, notebook_id)
        raise NotFound(f"The notebook has no such version; the present one is {present['version']}.")
    return row


async def _asked(reader: store.Reader, scope: Scope, notebook_id: UUID, version: str | None) -> asyncpg.Record:
    """A version named in a body; without one the present. Raises NotFound without the notebook, else Invalid."""
    if version is None:
        return await store.found(reader, store.queries.version, scope, notebook_id, None)
    await store.found(reader, store.queries.standing, scope, notebook_id)
    try:
        return await _find(reader, scope, notebook_id, version)
    except NotFound as error:
        raise Invalid(error.detail, faults=[Fault(path="version", message="there is no such version")]) from error


def _summary(row: asyncpg.Record) -> dict[str, Any]:
    """The members of a VersionSummary."""
    return {
        "version": row["version"],
        "notebook_name": row["name"],
        "kernel_type": row["kernel_type"],
        "content_sha256": row["content_sha256"].hex(),
        "date_created": row["created_at"],
        "created_by": row["created_by"],
        "change_message": row["change_message"],
        "restored_from": row["restored_from"],
    }
