"""The commands that artifacts answers about runs, and the registry of all its commands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.artifacts import datasets, libraries, lineage, model, storage, store, upload_progress
from services.artifacts.files import commands as file_contents
from services.artifacts.store import queries
from shared.command_log import WriteTransaction
from shared.contracts.base import Command, Nothing
from shared.contracts.datasets import (
    DeleteDataset,
    GetDataset,
    GetDatasetProfile,
    GetUploadProgress,
    ListDatasets,
    ListDatasetVersions,
    OpenDatasetUpload,
    PinDataset,
    PreviewDataset,
)
from shared.contracts.files import LocateContents, OpenFileUpload
from shared.contracts.libraries import DeleteLibrary, ListLibraries, PinLibraries, StoreLibrary
from shared.contracts.lineage import GetDatasetOrigins, ListProducts
from shared.contracts.results import ArtifactEntry, ArtifactList, GetArtifact, ListArtifacts, SealManifest
from shared.contracts.storage import ListStoredRuns, MeasureStorage
from shared.errors import Conflict, NotFound
from shared.responder import Context, Handler

if TYPE_CHECKING:
    from services.artifacts.app import App

LATE_REMOVAL_S = 300.0
"""How long after a refused manifest its objects are removed: its worker may still be uploading, in seconds."""


class Buried(Conflict):
    """The notebook or the run was deleted."""


async def seal_manifest(app: App, command: SealManifest, context: Context) -> Nothing:
    """Register a run's artifacts, invisibly; see SealManifest. Raises Conflict when the run is deleted or closed."""
    model.check_entries(command.scope, command.execution_id, command.epoch, command.entries)
    try:
        async with context.transaction() as tx:
            await _seal(tx, command)
            return tx.reply(Nothing())
    except Buried:
        await app.removals.request(model.execution_prefix(command.scope, command.execution_id), after_s=LATE_REMOVAL_S)
        raise


async def _seal(tx: WriteTransaction, command: SealManifest) -> None:
    ids = [command.notebook_id, command.execution_id]
    for one in ids:
        await tx.sql.execute(queries.lock_shared, str(one))
    if await tx.sql.value(queries.find_tombstone, ids):
        raise Buried("The notebook or the execution was deleted; nothing can be registered for it.")
    scope = command.scope
    owner = (scope.tenant_id, scope.project_id, command.notebook_id)
    manifest = await tx.sql.row(queries.open_manifest, command.execution_id, command.epoch, *owner)
    if manifest is None or (manifest["tenant_id"], manifest["project_id"], manifest["notebook_id"]) != owner:
        raise Conflict("This execution belongs to another notebook.")
    if manifest["final"]:
        wanted = [entry.artifact_id for entry in command.entries]
        if await tx.sql.value(queries.count_missing_artifacts, command.execution_id, command.epoch, wanted):
            raise Conflict("The manifest of this execution is closed; nothing can be added to it.")
        return
    await store.upsert_artifacts(tx.sql, command.execution_id, command.epoch, command.entries)
    if command.withdrawn:
        await tx.sql.execute(queries.withdraw_artifacts, command.execution_id, command.epoch, command.withdrawn)
    if command.final:
        await tx.sql.execute(queries.close_manifest, command.execution_id, command.epoch, command.kept)


async def list_artifacts(app: App, command: ListArtifacts, _context: Context) -> ArtifactList:
    """The artifacts registered under (execution, epoch); none when nothing is registered."""
    async with app.database.connection() as connection:
        listed = await store.list_artifacts(connection, command)
    if not command.with_links or app.public_links is None:
        return listed
    linked = await asyncio.to_thread(app.public_links.on, listed.artifacts, datetime.now(UTC))
    return ArtifactList(artifacts=linked, more=listed.more)


async def get_artifact(app: App, command: GetArtifact, _context: Context) -> ArtifactEntry:
    """One artifact's entry; raises NotFound."""
    async with app.database.connection() as connection:
        entry = await store.find_artifact(
            connection, command.scope, command.execution_id, command.epoch, command.artifact_id
        )
    if entry is None:
        raise NotFound("There is no such artifact.")
    return entry


COMMANDS: Mapping[type[Command[Any]], Handler] = {
    OpenDatasetUpload: datasets.open_dataset_upload,
    GetDataset: datasets.get_dataset,
    PinDataset: datasets.pin_dataset,
    ListDatasets: datasets.list_datasets,
    ListDatasetVersions: datasets.list_dataset_versions,
    PreviewDataset: datasets.preview_dataset,
    GetDatasetProfile: datasets.get_dataset_profile,
    GetUploadProgress: upload_progress.get_upload_progress,
    DeleteDataset: datasets.delete_dataset,
    StoreLibrary: libraries.store_library,
    ListLibraries: libraries.list_libraries,
    PinLibraries: libraries.pin_libraries,
    DeleteLibrary: libraries.delete_library,
    OpenFileUpload: file_contents.open_file_upload,
    LocateContents: file_contents.locate_contents,
    GetDatasetOrigins: lineage.get_dataset_origins,
    ListProducts: lineage.list_products,
    SealManifest: seal_manifest,
    ListArtifacts: list_artifacts,
    GetArtifact: get_artifact,
    MeasureStorage: storage.measure_storage,
    ListStoredRuns: storage.list_stored_runs,
}
