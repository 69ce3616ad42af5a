"""The commands that artifacts answers about datasets."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import orjson

from services.artifacts import model, previews, storage, store
from services.artifacts.store import queries
from shared import cursors, tickets
from shared.contracts.base import Nothing, Scope
from shared.contracts.datasets import (
    ColumnProfile,
    Dataset,
    DatasetDeleted,
    DatasetPage,
    DatasetPreview,
    DatasetProfile,
    DatasetVersionPage,
    DeleteDataset,
    GetDataset,
    GetDatasetProfile,
    ListDatasets,
    ListDatasetVersions,
    OpenDatasetUpload,
    PinDataset,
    PinnedDataset,
    PreviewDataset,
    UploadTicket,
)
from shared.contracts.notebooks import Precondition
from shared.contracts.transfers import DATASET_UPLOAD, TICKET_LIFE_S, DatasetUpload
from shared.errors import NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.artifacts.app import App

NO_DATASET = "There is no such dataset."
NO_VERSION = "There is no such dataset, or it has no such version."


async def open_dataset_upload(app: App, command: OpenDatasetUpload, context: Context) -> UploadTicket:
    """An address and a ticket for one upload; raises NotFound when data is to be replaced that is not there, and
    Conflict when it is not what the caller believes (unless it may be this very request that changed it)."""
    if command.purpose == "replace":
        present, _ = await _find(app, command.scope, command.dataset_id)
        if command.idempotency is None:
            _check(command.precondition, present)
    await storage.require_room(app, command.scope)
    claims = DatasetUpload(
        upload_id=context.envelope.id,
        scope=command.scope,
        caller=command.caller,
        idempotency=command.idempotency,
        dataset_id=command.dataset_id,
        dataset_name=command.dataset_name,
        file_name=command.file_name,
        purpose=command.purpose,
        case_id_column=command.case_id_column or None,
        activity_column=command.activity_column or None,
        time_column=command.time_column or None,
        precondition=command.precondition,
        writing=command.writing,
        progress_id=command.progress_id,
        artifact=command.artifact,
    )
    ticket = tickets.sign(
        claims.model_dump(mode="json", by_alias=True),
        key=app.internal_secret,
        purpose=DATASET_UPLOAD,
        life_s=TICKET_LIFE_S,
    )
    url = f"{app.settings.artifacts_url.rstrip('/')}/internal/datasets/{command.dataset_id}"
    return UploadTicket(url=url, ticket=ticket)


async def get_dataset(app: App, command: GetDataset, _context: Context) -> Dataset:
    """The dataset's present version or the one that is asked for; raises NotFound."""
    return (await _find(app, command.scope, command.dataset_id, command.version))[0]


async def pin_dataset(app: App, command: PinDataset, _context: Context) -> PinnedDataset:
    """The dataset's present version and where it is stored; raises NotFound."""
    dataset, object_key = await _find(app, command.scope, command.dataset_id)
    return PinnedDataset(dataset=dataset, object_key=object_key)


async def list_datasets(app: App, command: ListDatasets, _context: Context) -> DatasetPage:
    """A page, newest first; raises Invalid for a cursor that is none of ours."""
    after = cursors.place(command.cursor, datetime, UUID) if command.cursor else None
    offset = 0 if after else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        total = await connection.fetchval(queries.count_datasets, command.scope.tenant_id, command.scope.project_id)
        found = await store.page_of_datasets(
            connection, command.scope, limit=command.page_size + 1, offset=offset, after=after
        )
    items, more = found[: command.page_size], len(found) > command.page_size
    return DatasetPage(
        items=items,
        total_count=total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=more,
        next_cursor=cursors.cursor(items[-1].date_created, items[-1].dataset_id) if more else None,
    )


async def list_dataset_versions(app: App, command: ListDatasetVersions, _context: Context) -> DatasetVersionPage:
    """A page of a dataset's versions, newest first; raises NotFound."""
    scope = command.scope
    await _find(app, scope, command.dataset_id)
    after = cursors.place(command.cursor, int)[0] if command.cursor else None
    offset = 0 if after else (command.page - 1) * command.page_size
    async with app.database.connection() as connection:
        total = await connection.fetchval(queries.count_versions, command.dataset_id)
        rows = await connection.fetch(
            queries.page_of_versions,
            command.dataset_id,
            scope.tenant_id,
            scope.project_id,
            after,
            command.page_size + 1,
            offset,
        )
    shown, more = rows[: command.page_size], len(rows) > command.page_size
    return DatasetVersionPage(
        items=[store.version_of(row) for row in shown],
        total_count=total,
        page=command.page,
        page_size=command.page_size,
        has_next_page=more,
        next_cursor=cursors.cursor(shown[-1]["version"]) if more else None,
    )


async def preview_dataset(app: App, command: PreviewDataset, _context: Context) -> DatasetPreview:
    """The first rows of a version; raises NotFound."""
    dataset, object_key = await _find(app, command.scope, command.dataset_id, command.version)
    rows = await previews.first_rows(app.objects, app.readers, object_key, dataset.size_bytes, command.rows)
    return DatasetPreview(
        dataset_id=dataset.dataset_id,
        version=dataset.version,
        record_count=dataset.record_count,
        columns=dataset.columns,
        rows=rows,
    )


async def get_dataset_profile(app: App, command: GetDatasetProfile, _context: Context) -> DatasetProfile:
    """What the columns of a version hold, as far as that is known by now; raises NotFound."""
    dataset, _ = await _find(app, command.scope, command.dataset_id, command.version)
    async with app.database.connection() as connection:
        found = await connection.fetchval(queries.find_profile, dataset.dataset_id, dataset.version)
    columns = [ColumnProfile.model_validate(column) for column in orjson.loads(found)] if found else []
    return DatasetProfile(
        dataset_id=dataset.dataset_id,
        version=dataset.version,
        state="Ready" if found else dataset.profile.state,
        record_count=dataset.record_count,
        columns=columns,
    )


async def delete_dataset(app: App, command: DeleteDataset, context: Context) -> Nothing:
    """Remove a dataset and, soon after, its objects; raises NotFound, and Conflict for a stale precondition."""
    scope = command.scope
    ids = (command.dataset_id, scope.tenant_id, scope.project_id)
    async with context.transaction() as tx:
        if await tx.sql.row(queries.lock_dataset, *ids) is None:
            raise NotFound(NO_DATASET)
        row = await tx.sql.row(queries.find_dataset, *ids)
        if row is None:
            raise NotFound(NO_DATASET)
        _check(command.precondition, store.dataset_of(row))
        await tx.sql.execute(queries.delete_dataset, command.dataset_id)
        await tx.sql.execute(queries.request_removal, model.dataset_prefix(scope, command.dataset_id), 0.0)
        tx.emit(
            DatasetDeleted(
                scope=scope,
                dataset_id=command.dataset_id,
                dataset_name=row["dataset_name"],
                version=row["version"],
                record_count=row["record_count"],
            )
        )
        answer = tx.reply(Nothing())
    app.removals.wake()
    return answer


def _check(precondition: Precondition, dataset: Dataset) -> None:
    etag = model.dataset_etag(dataset.version, dataset.sha256)
    model.check_precondition(precondition, etag=etag, modified_at=dataset.date_modified)


async def _find(app: App, scope: Scope, dataset_id: UUID, version: int | None = None) -> tuple[Dataset, str]:
    async with app.database.connection() as connection:
        found = await store.find_dataset(connection, scope, dataset_id, version)
    if found is None:
        raise NotFound(NO_DATASET if version is None else NO_VERSION)
    return found
