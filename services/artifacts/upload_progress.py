"""How far an upload is, written down about once a second for the sender who asks (`GET dataset-uploads/{uploadId}`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from services.artifacts.store import queries
from shared.contracts.datasets import GetUploadProgress, UploadPhase, UploadProgress
from shared.contracts.transfers import DatasetUpload
from shared.errors import AtelierError, NotFound
from shared.responder import Context

if TYPE_CHECKING:
    from services.artifacts.app import App

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
"""How often the state is written down, in seconds: senders of small files never wait for it."""

INTERRUPTED = "The upload was interrupted; send the file again."


class Progress:
    """Counters that the upload's thread and coroutine raise as they go."""

    def __init__(self) -> None:
        self.phase: UploadPhase = "Receiving"
        self.bytes_received = 0
        self.rows_converted = 0
        self.error: str | None = None


@asynccontextmanager
async def told(app: App, upload: DatasetUpload) -> AsyncIterator[Progress]:
    """A Progress that is written down while it lasts, if the sender wants to know; at its end it is Ready or Failed."""
    progress = Progress()
    if upload.progress_id is None:
        yield progress
        return
    await _write(app, queries.begin_upload, upload, upload.dataset_id, app.outbox.owner)
    writing = asyncio.create_task(_keep_writing(app, upload, progress))
    try:
        yield progress
        progress.phase = "Ready"
    except BaseException as error:
        progress.phase = "Failed"
        progress.error = error.detail if isinstance(error, AtelierError) else INTERRUPTED
        raise
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await asyncio.shield(_advance(app, upload, progress))


async def get_upload_progress(app: App, command: GetUploadProgress, _context: Context) -> UploadProgress:
    """How far an upload is; raises NotFound."""
    scope = command.scope
    async with app.database.connection() as connection:
        row = await connection.fetchrow(queries.find_upload, scope.tenant_id, scope.project_id, command.upload_id)
    if row is None:
        raise NotFound("There is no such upload, or it ended more than a day ago.")
    return UploadProgress(
        upload_id=row["upload_id"],
        dataset_id=row["dataset_id"],
        phase="Failed" if row["abandoned"] else row["phase"],
        bytes_received=row["bytes_received"],
        rows_converted=row["rows_converted"],
        error=INTERRUPTED if row["abandoned"] else row["error"],
        date_created=row["created_at"],
        date_modified=row["modified_at"],
    )


async def _keep_writing(app: App, upload: DatasetUpload, progress: Progress) -> None:
    while True:
        await asyncio.sleep(WRITE_EVERY_S)
        await _advance(app, upload, progress)


async def _advance(app: App, upload: DatasetUpload, progress: Progress) -> None:
    counters = (progress.bytes_received, progress.rows_converted)
    await _write(app, queries.advance_upload, upload, progress.phase, *counters, progress.error)


async def _write(app: App, statement: str, upload: DatasetUpload, *values: object) -> None:
    scope = upload.scope
    try:
        async with app.database.connection() as connection:
            await connection.execute(statement, scope.tenant_id, scope.project_id, upload.progress_id, *values)
    except AtelierError as error:
        log.info("progress not written down", reason=error.detail)
