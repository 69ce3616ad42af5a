"""`PUT /internal/datasets/{id}`: a file becomes a dataset version while it arrives (DESIGN.md decision 4).

Bytes go to a local spool; a child process converts them behind the writer. Only when the Parquet object is stored does
one transaction make the version exist, with its event and its reply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from services.artifacts import adopting, store, ticketed, upload_progress, versions
from services.artifacts.conversion_scheduler import Arriving
from services.artifacts.formats.conversion import Conversion, Wishes, Writing
from services.artifacts.formats.roles import Roles
from services.artifacts.formats.spool import Spool
from services.artifacts.metrics import BYTES_IN, CONVERSION_SECONDS
from services.artifacts.upload_progress import Progress
from shared import disk, replies
from shared.contracts.transfers import DATASET_UPLOAD, DatasetUpload
from shared.errors import NotFound, TooLarge

if TYPE_CHECKING:
    from services.artifacts.app import App

log = structlog.get_logger(__name__)

APPEND_BYTES = 1024 * 1024
"""How much is collected before it goes to the spool: one thread call for it, in bytes."""


async def receive_dataset(app: App, request: web.Request) -> web.Response:
    """Answers a Reply that carries the Dataset, or the fault; a fault leaves nothing behind."""
    upload = ticketed.claimed(request, DatasetUpload, key=app.internal_secret, purpose=DATASET_UPLOAD)
    ticketed.matching_id(request, upload.dataset_id)
    habit = await _habit(app, upload)
    async with upload_progress.told(app, upload) as progress:
        reply = await _stored(app, request, upload, habit, progress)
    return web.Response(body=reply.encode(), content_type="application/json")


async def _stored(
    app: App, request: web.Request, upload: DatasetUpload, habit: Roles, progress: Progress
) -> replies.Reply:
    def converted(rows: int) -> None:
        progress.rows_converted = rows

    with app.workspace.folder() as folder:
        with disk.with_room():
            spool = Spool(folder / "spool")
        target = folder / "data.parquet"
        wishes = Wishes(
            roles=Roles(case_id=upload.case_id_column, activity=upload.activity_column, time=upload.time_column),
            habit=habit,
            max_decompressed_bytes=app.settings.max_decompressed_bytes,
            max_columns=app.settings.max_columns,
            writing=Writing(**upload.writing.model_dump()),
            converted=converted,
        )
        async with adopting.source_of(app, request, upload) as pieces:
            conversion = await _receive(app, pieces, spool, target, wishes, progress)
        progress.phase = "Storing"
        reply = await versions.keep(app, upload, conversion, spool, target)
    app.profiling.wake()
    return reply


async def _habit(app: App, upload: DatasetUpload) -> Roles:
    """The roles of the columns in the version that is replaced; raises NotFound when there is none."""
    if upload.purpose == "create":
        return Roles()
    async with app.database.connection() as connection:
        found = await store.find_dataset(connection, upload.scope, upload.dataset_id)
    if found is None:
        raise NotFound("There is no such dataset.")
    dataset = found[0]
    return Roles(case_id=dataset.case_id_column, activity=dataset.activity_column, time=dataset.time_column)


async def _receive(
    app: App, pieces: AsyncIterator[bytes], spool: Spool, target: Path, wishes: Wishes, progress: Progress
) -> Conversion:
    """Spool the body and convert it at the same time. Raises what the conversion raises as soon as it does: nobody has
    to send the rest of a file that is refused."""
    started = time.monotonic()
    arriving = Arriving(spool)
    converting = asyncio.create_task(app.converters.convert(arriving, target, wishes))
    spooling = asyncio.create_task(_spool(pieces, arriving, app.settings.dataset_max_bytes, progress))
    converting.add_done_callback(lambda _: spooling.cancel())
    try:
        await asyncio.wait({spooling})
        if not spooling.cancelled():
            spooling.result()
            arriving.finish()
            progress.phase = "Converting"
            await asyncio.wait({converting})
    finally:
        # Whoever writes or reads in the folder must be gone before it is.
        spooling.cancel()
        await asyncio.shield(asyncio.gather(spooling, return_exceptions=True))
        spool.close()
        converting.cancel()
        await asyncio.shield(asyncio.gather(converting, return_exceptions=True))
        BYTES_IN.labels("dataset").inc(spool.size)
    conversion = converting.result()
    CONVERSION_SECONDS.observe(time.monotonic() - started)
    return conversion


async def _spool(pieces: AsyncIterator[bytes], arriving: Arriving, limit: int, progress: Progress) -> None:
    """Write the body down, in large pieces unless the sender pauses. Raises TooLarge."""
    waiting = bytearray()
    async for piece in pieces:
        progress.bytes_received += len(piece)
        if progress.bytes_received > limit:
            raise TooLarge(f"The file is larger than {limit} bytes, which is the limit.")
        waiting += piece
        if len(waiting) >= APPEND_BYTES or (waiting and not piece):
            await arriving.append(bytes(waiting))
            waiting.clear()
    await arriving.append(bytes(waiting))
