"""Answers about notebooks that change nothing."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import orjson

from services.catalog import child_calls, large_contents, listing, store
from services.catalog.model import check_precondition, is_version
from services.catalog.parameters import form
from shared.contracts.base import Nothing
from shared.contracts.notebooks import (
    CheckDatasetUnbound,
    CheckNotebook,
    ExportNotebook,
    GetNotebook,
    IpynbFile,
    ListNotebooks,
    Notebook,
    NotebookPage,
    NotebookState,
    PinnedNotebook,
    PinNotebook,
)
from shared.contracts.versions import GetParameters, ParameterSchema
from shared.errors import Conflict, Fault, Invalid
from shared.responder import Context

if TYPE_CHECKING:
    import asyncpg

    from services.catalog.app import Catalog

FILE_NAME_LENGTH = 120
"""Characters of an exported file's name before its ending: file systems end at 255 bytes."""

_NOT_IN_FILE_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')


async def get_notebook(app: Catalog, command: GetNotebook, context: Context) -> Notebook:
    """The notebook object, its run members from the projection."""

    async def reading(reader: store.Reader) -> Notebook:
        return await store.get(reader, command.scope, command.notebook_id)

    return await large_contents.read(app, context, command.scope, command.notebook_id, [None], reading)


async def list_notebooks(app: Catalog, command: ListNotebooks, _context: Context) -> NotebookPage:
    """A page of the project's notebooks."""
    async with app.database.connection() as connection:
        return await listing.page(connection, command, app.searches)


async def check_notebook(app: Catalog, command: CheckNotebook, _context: Context) -> NotebookState:
    """The notebook's state, if it exists and the precondition holds."""
    async with app.database.connection() as connection:
        row = await store.found(store.Outside(connection), store.queries.standing, command.scope, command.notebook_id)
    check_precondition(command.precondition, etag=row["etag"], modified_at=row["modified_at"])
    return NotebookState(etag=row["etag"], date_modified=row["modified_at"])


async def check_dataset_unbound(app: Catalog, command: CheckDatasetUnbound, _context: Context) -> Nothing:
    """Whether a dataset may go: a conflict names the notebooks that are bound to it."""
    scope = command.scope
    async with app.database.connection() as connection:
        rows = await connection.fetch(
            store.queries.bound_to, scope.tenant_id, scope.project_id, str(command.dataset_id)
        )
    if rows:
        names = ", ".join(repr(row["name"]) for row in rows[:3]) + (" and others" if len(rows) > 3 else "")
        raise Conflict(f"The dataset is bound to {names}; bind another there, or delete it with ?force=true.")
    return Nothing()


async def export_notebook(app: Catalog, command: ExportNotebook, context: Context) -> IpynbFile:
    """A version as a file: as .ipynb with the outputs an uploaded file came with, else as text without any."""
    row = await _version(app, command, context)
    definition = store.definition(row)
    name = _NOT_IN_FILE_NAMES.sub("_", definition.name)[:FILE_NAME_LENGTH].strip(" .") or "notebook"
    if command.format == "ipynb":
        content = await asyncio.to_thread(definition.document.export, definition.kernel_type)
        return IpynbFile(file_name=f"{name}.ipynb", content=content)
    text, ending = await child_calls.write_text(
        app.children,
        definition.document,
        definition.kernel_type,
        command.format,
        owner=str(command.scope.tenant_id),
        deadline=context.deadline,
    )
    return IpynbFile(file_name=name + ending, text=text)


async def pin_notebook(app: Catalog, command: PinNotebook, context: Context) -> PinnedNotebook:
    """A version as a run needs it."""
    row = await _version(app, command, context)
    definition = store.definition(row)
    content = await store.off_loop(row, lambda: definition.document.pinned(definition.kernel_type))
    return PinnedNotebook(
        notebook_id=command.notebook_id,
        notebook_name=definition.name,
        version=row["version"],
        kernel_type=definition.kernel_type,
        integration=definition.integration,
        environment=definition.environment,
        parameters=orjson.loads(row["parameters"]),
        content=content,
        files=definition.files.references(),
    )


async def get_parameters(app: Catalog, command: GetParameters, context: Context) -> ParameterSchema:
    """The schema of a version's parameters, ready to be shown as a form."""
    row = await _version(app, command, context)
    return ParameterSchema(await store.off_loop(row, lambda: form.ready(orjson.loads(row["parameters"]), row["name"])))


async def _version(
    app: Catalog, command: ExportNotebook | PinNotebook | GetParameters, context: Context
) -> asyncpg.Record:
    """The version asked for. Raises NotFound without the notebook, Invalid without the version, Unavailable when there
    is no memory for it."""
    scope, notebook_id, version = command.scope, command.notebook_id, command.version

    async def reading(reader: store.Reader) -> asyncpg.Record:
        if version is None or is_version(version):
            row = await reader.row(store.queries.version, notebook_id, scope.tenant_id, scope.project_id, version)
            if row is not None:
                return row
        present = await store.found(reader, store.queries.standing, scope, notebook_id)
        message = f"there is no such version; the present one is {present['version']}"
        raise Invalid(f"For this notebook {message}.", faults=[Fault(path="version", message=message)])

    wanted = [version] if version is None or is_version(version) else []
    return await large_contents.read(app, context, scope, notebook_id, wanted, reading)
