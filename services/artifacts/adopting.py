"""A result of a run becomes a dataset: its bytes come from the object store instead of a sender."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from services.artifacts import downloads, incoming, store
from shared.contracts.transfers import DatasetUpload
from shared.errors import NotFound

if TYPE_CHECKING:
    from services.artifacts.app import App


@asynccontextmanager
async def source_of(app: App, request: web.Request, upload: DatasetUpload) -> AsyncIterator[AsyncIterator[bytes]]:
    """The bytes that become the dataset: the artifact's that the upload names, else the request's body. Raises NotFound
    when the artifact is gone; the bytes, Invalid when the sender falls silent."""
    if upload.artifact is None:
        yield incoming.pieces_of(request.content, silence_s=app.settings.upload_silence_s)
        return
    wanted = upload.artifact
    async with app.database.connection() as connection:
        entry = await store.find_artifact(
            connection, upload.scope, wanted.execution_id, wanted.epoch, wanted.artifact_id
        )
        if entry is None:
            raise NotFound("The artifact is gone.")
        source = await downloads.source_of(connection, wanted.execution_id, wanted.epoch, entry)
    async with downloads.pieces(app, request.app[downloads.STORAGE], source) as pieces:
        yield pieces
