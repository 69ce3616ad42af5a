"""Rows to contracts and back: the artifacts schema. Never commits."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, get_args
from uuid import UUID

import asyncpg
import orjson

from services.artifacts import model
from services.artifacts.formats.conversion import Conversion
from shared.contracts.base import Scope
from shared.contracts.datasets import Column, Dataset, DatasetSource, DatasetVersion, ProfileStatus
from shared.contracts.results import ArtifactEntry, ArtifactKind, ArtifactList, ListArtifacts, Packed
from shared.contracts.transfers import DatasetUpload
from shared.database import Transaction
from shared.sql import Queries

PAGE_BYTES = 512 * 1024
"""Contents of one page of artifacts, in bytes, unless its first is larger: a page should travel over the bus."""

queries = Queries(Path(__file__).parent / "queries.sql")


class Reader(Protocol):
    """A connection or a transaction, whichever is at hand."""

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """All rows."""


def dataset_of(row: asyncpg.Record) -> Dataset:
    """The dataset object of a row that joins dataset and version."""
    return Dataset(
        dataset_id=row["dataset_id"],
        project_id=row["project_id"],
        dataset_name=row["dataset_name"],
        version=row["version"],
        record_count=row["record_count"],
        case_count=row["case_count"],
        columns=[Column.model_validate(column) for column in orjson.loads(row["columns"])],
        case_id_column=row["case_id_column"],
        activity_column=row["activity_column"],
        time_column=row["time_column"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        date_created=row["date_created"],
        date_modified=row["date_modified"],
        created_by=row["created_by"],
        etag=model.dataset_etag(row["version"], row["sha256"]),
        source=DatasetSource.model_validate_json(row["source"]),
        profile=ProfileStatus(state=row["profile_state"]),
    )


def version_of(row: asyncpg.Record) -> DatasetVersion:
    """One version of a dataset, from its row."""
    return DatasetVersion(
        version=row["version"],
        record_count=row["record_count"],
        case_count=row["case_count"],
        columns=[Column.model_validate(column) for column in orjson.loads(row["columns"])],
        case_id_column=row["case_id_column"],
        activity_column=row["activity_column"],
        time_column=row["time_column"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        date_created=row["created_at"],
        created_by=row["created_by_whom"],
        source=DatasetSource.model_validate_json(row["source"]),
        profile=ProfileStatus(state=row["profile_state"]),
    )


async def find_dataset(
    reader: Reader, scope: Scope, dataset_id: UUID, version: int | None = None
) -> tuple[Dataset, str] | None:
    """A dataset's present version, or another one, and the key of its object."""
    ids = (dataset_id, scope.tenant_id, scope.project_id)
    if version is None:
        rows = await reader.fetch(queries.find_dataset, *ids)
    else:
        rows = await reader.fetch(queries.find_version, *ids, version)
    return (dataset_of(rows[0]), rows[0]["object_key"]) if rows else None


async def page_of_datasets(
    reader: Reader, scope: Scope, *, limit: int, offset: int = 0, after: tuple[datetime, UUID] | None = None
) -> list[Dataset]:
    """Up to `limit` datasets, newest first, after another one or after `offset` of them."""
    ids = (scope.tenant_id, scope.project_id)
    if after is not None:
        rows = await reader.fetch(queries.page_after, *ids, limit, *after)
    else:
        rows = await reader.fetch(queries.page_by_number, *ids, limit, offset)
    return [dataset_of(row) for row in rows]


async def insert_version(
    sql: Transaction, dataset_id: UUID, version: int, object_key: str, conversion: Conversion, *, upload: DatasetUpload
) -> None:
    """Record what a conversion produced as a version of a dataset."""
    columns = [{"name": name, "type": kind} for name, kind in conversion.columns]
    await sql.execute(
        queries.insert_version,
        dataset_id,
        version,
        object_key,
        conversion.record_count,
        conversion.case_count,
        orjson.dumps(columns).decode(),
        conversion.roles.case_id,
        conversion.roles.activity,
        conversion.roles.time,
        conversion.size_bytes,
        conversion.sha256,
        orjson.dumps({**conversion.source, "fileName": model.storable(upload.file_name)}).decode(),
        upload.caller.subject,
    )


async def upsert_artifacts(sql: Transaction, execution_id: UUID, epoch: int, entries: list[ArtifactEntry]) -> None:
    """Record a manifest's entries; those known already are replaced."""
    rows = [_artifact_row(execution_id, epoch, entry) for entry in entries]
    await sql.connection.executemany(queries.upsert_artifact, rows)


def _artifact_row(execution_id: UUID, epoch: int, entry: ArtifactEntry) -> tuple[Any, ...]:
    def text(value: str | None) -> str | None:
        return None if value is None else model.storable(value)

    return (
        execution_id,
        epoch,
        entry.artifact_id,
        entry.position,
        entry.kind,
        model.categories(entry),
        text(entry.name),
        text(entry.file_name),
        text(entry.content_type),
        entry.size_bytes,
        entry.sha256,
        entry.object_key,
        model.inline_bytes(entry),
        text(entry.cell_id),
        text(entry.output_type),
        text(entry.title),
        entry.width,
        entry.height,
        None if entry.content is None else orjson.dumps(entry.content),
        entry.content_truncated,
        orjson.dumps(entry.details),
        entry.pack and entry.pack.object_key,
        entry.pack and entry.pack.offset,
        entry.crc32,
    )


async def list_artifacts(reader: Reader, command: ListArtifacts) -> ArtifactList:
    """The artifacts that a command asks for, in order."""
    kinds = command.kinds
    if kinds is None and command.kind is None:
        kinds = [kind for kind in get_args(ArtifactKind) if kind not in model.HIDDEN_KINDS]
    after = command.after
    rows = await reader.fetch(
        queries.list_artifacts,
        command.execution_id,
        command.epoch,
        command.scope.tenant_id,
        command.scope.project_id,
        None if command.output_type == "all" else command.output_type,
        command.cell_id or None,
        command.kind,
        kinds,
        command.with_content,
        after.position if after else None,
        after.artifact_id if after else None,
        command.limit,
        None if command.limit is None else PAGE_BYTES,
    )
    return ArtifactList(artifacts=[entry_of(row) for row in rows], more=bool(rows) and rows[0]["available"] > len(rows))


async def find_artifact(
    reader: Reader, scope: Scope, execution_id: UUID, epoch: int, artifact_id: UUID
) -> ArtifactEntry | None:
    """One artifact's entry, without its bytes."""
    rows = await reader.fetch(
        queries.find_artifact, execution_id, epoch, artifact_id, scope.tenant_id, scope.project_id
    )
    return entry_of(rows[0]) if rows else None


async def find_notebook(reader: Reader, scope: Scope, execution_id: UUID, epoch: int) -> ArtifactEntry | None:
    """The entry of a run's executed notebook."""
    rows = await reader.fetch(queries.find_notebook, execution_id, epoch, scope.tenant_id, scope.project_id)
    return entry_of(rows[0]) if rows else None


def entry_of(row: asyncpg.Record) -> ArtifactEntry:
    """The entry of a row, without its bytes."""
    members = dict(row)
    content = members.pop("content")
    pack_key, pack_offset = members.pop("pack_key"), members.pop("pack_offset")
    members.pop("available", None)
    return ArtifactEntry(
        **{**members, "details": orjson.loads(row["details"])},
        pack=None if pack_key is None else Packed(object_key=pack_key, offset=pack_offset),
        content=None if content is None else orjson.loads(content),
    )
