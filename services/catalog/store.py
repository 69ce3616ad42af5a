"""The catalog's rows: what is read from and written to its schema. Handlers own the transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID

import asyncpg
import orjson

from services.catalog import parameters
from services.catalog.automation import definition as automation
from services.catalog.document import Document, Json, metadata_of, tags_of
from services.catalog.files.file_set import FileSet
from services.catalog.model import Definition, etag_of, whole_milliseconds
from shared.contracts.base import Scope
from shared.contracts.notebooks import Cell, Environment, Integration, Notebook
from shared.database import Transaction
from shared.errors import NotFound
from shared.sql import Queries

IN_LOOP_BYTES = 128 * 1024
"""Larger bodies are made objects of in a thread, in bytes: so many take a few milliseconds."""

T = TypeVar("T")

queries = Queries(Path(__file__).parent / "queries.sql")


class Reader(Protocol):
    """What reads need: a transaction, or a connection outside of one."""

    async def row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row, or None."""


class Outside:
    """A connection for reads outside a transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def row(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """See Reader."""
        return await self._connection.fetchrow(statement, *arguments)


async def found(reader: Reader, statement: str, scope: Scope, notebook_id: UUID, *more: Any) -> asyncpg.Record:
    """The row of one notebook; raises NotFound, also for other tenants' notebooks and hidden ones."""
    row = await reader.row(statement, notebook_id, scope.tenant_id, scope.project_id, *more)
    if row is None:
        raise NotFound("There is no such notebook.")
    return row


async def get(reader: Reader, scope: Scope, notebook_id: UUID) -> Notebook:
    """The notebook object; raises NotFound."""
    row = await found(reader, queries.get, scope, notebook_id)
    return await off_loop(row, lambda: _notebook(row))


async def off_loop(row: asyncpg.Record, work: Callable[[], T]) -> T:
    """The result of work on the content of a row: of a large one in a thread."""
    return work() if len(row["body"]) <= IN_LOOP_BYTES else await asyncio.to_thread(work)


def definition(row: asyncpg.Record) -> Definition:
    """The definition in a row of notebook_version with its content."""
    return Definition(
        name=row["name"],
        description=row["description"],
        kernel_type=row["kernel_type"],
        integration=Integration.model_validate_json(row["integration"]),
        environment=Environment.model_validate_json(row["environment"]),
        document=Document.stored(row["body"], row["outputs"]),
        files=FileSet.stored(row["files"]),
    )


async def parsed(row: asyncpg.Record) -> Definition:
    """The same with its document parsed: of a large one in a thread."""
    read = definition(row)
    await off_loop(row, lambda: read.document.cells)
    return read


async def insert(
    transaction: Transaction,
    scope: Scope,
    notebook_id: UUID,
    definition: Definition,
    *,
    version: str,
    highest_cell_number: int,
    author: str,
    message: str | None = None,
) -> None:
    """A new notebook with its first version."""
    now = await transaction.value(queries.clock)
    definition = replace(definition, files=definition.files.dated(whole_milliseconds(now)))
    await transaction.execute(
        queries.insert_notebook,
        notebook_id,
        scope.tenant_id,
        scope.project_id,
        definition.name,
        definition.name.casefold(),
        definition.kernel_type,
        definition.integration.enrichment_mode,
        len(definition.document.cells),
        version,
        etag_of(notebook_id, version, definition),
        highest_cell_number,
        now,
        author,
    )
    await _insert_version(transaction, notebook_id, definition, version=version, at=now, author=author, message=message)
    ids = [cell["id"] for cell in definition.document.cells]
    await transaction.execute(queries.touch_cells, notebook_id, ids, whole_milliseconds(now))
    await automation.follow(transaction, notebook_id, definition.integration)


async def add_version(
    transaction: Transaction,
    notebook_id: UUID,
    definition: Definition,
    changed_cells: Sequence[str],
    *,
    version: str,
    highest_cell_number: int,
    at: datetime,
    author: str,
    message: str | None,
    restored_from: str | None = None,
) -> None:
    """A new version of a locked notebook, which becomes the present one."""
    await _insert_version(
        transaction,
        notebook_id,
        definition,
        version=version,
        at=at,
        author=author,
        message=message,
        restored_from=restored_from,
    )
    await transaction.execute(
        queries.update_notebook,
        notebook_id,
        definition.name,
        definition.name.casefold(),
        definition.kernel_type,
        definition.integration.enrichment_mode,
        len(definition.document.cells),
        version,
        etag_of(notebook_id, version, definition),
        highest_cell_number,
        at,
    )
    await transaction.execute(queries.touch_cells, notebook_id, list(changed_cells), at)
    await automation.follow(transaction, notebook_id, definition.integration)


async def _insert_version(
    transaction: Transaction,
    notebook_id: UUID,
    definition: Definition,
    *,
    version: str,
    at: datetime,
    author: str,
    message: str | None = None,
    restored_from: str | None = None,
) -> None:
    document = definition.document
    schema = await asyncio.to_thread(parameters.schema_of, document, definition.kernel_type)
    await transaction.execute(
        queries.insert_content, notebook_id, document.sha256, document.body_bytes, document.outputs_bytes
    )
    files = definition.files
    if files.body is not None:
        await transaction.execute(queries.insert_file_set, notebook_id, files.address, files.body)
        await transaction.execute(queries.insert_file_contents, notebook_id, files.hashes)
    await transaction.execute(
        queries.insert_version,
        notebook_id,
        version,
        definition.name,
        definition.description,
        definition.kernel_type,
        definition.integration.model_dump_json(by_alias=True),
        definition.environment.model_dump_json(by_alias=True),
        orjson.dumps(schema).decode(),
        document.sha256,
        at,
        author,
        message,
        restored_from,
        files.address,
    )


def _notebook(row: asyncpg.Record) -> Notebook:
    body = orjson.loads(row["body"])
    activity = {entry[0]: entry[1:] for entry in orjson.loads(row["cells"] or "[]")}
    return Notebook(
        notebook_id=row["notebook_id"],
        project_id=row["project_id"],
        notebook_name=row["name"],
        notebook_description=row["description"],
        notebook_version=row["version"],
        kernel_type=row["kernel_type"],
        status=row["status"],
        integration=Integration.model_validate_json(row["integration"]),
        cells=[cell_of(cell, activity.get(cell["id"])) for cell in body["cells"]],
        environment=Environment.model_validate_json(row["environment"]),
        parameters=orjson.loads(row["parameters"]),
        date_created=row["created_at"],
        date_modified=row["modified_at"],
        created_by=row["created_by"],
        last_execution_date=row["last_execution_date"],
        execution_count=row["execution_count"],
        etag=row["etag"],
    )


def cell_of(cell: Json, activity: list[Any] | None) -> Cell:
    """A cell as the API shows it; `activity` is its row: when it changed, and what its latest run came to."""
    modified, count, has_output, executed, status = activity or (None, None, False, None, None)
    return Cell(
        cell_id=cell["id"],
        cell_type=cell["cell_type"],
        content=cell["source"],
        tags=tags_of(cell),
        metadata=metadata_of(cell),
        execution_count=count,
        has_output=has_output,
        last_executed=executed,
        execution_status=status,
        last_modified=modified,
    )
