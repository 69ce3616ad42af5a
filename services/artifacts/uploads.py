"""`PUT /internal/datasets/{id}`: a file becomes a dataset version while it arrives (DESIGN.md decision 4).

Bytes go to a local spool; a thread converts them behind the writer. Only when the Parquet object is stored does one
transaction make the version exist, with its event and its reply.
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
from services.artifacts.formats.conversion import Conversion, Wishes, Writing
from services.artifacts.formats.converter import convert
from services.artifacts.formats.roles import Roles
from services.artifacts.formats.spool import Spool, SpoolAborted
from services.artifacts.metrics import BYTES_IN, CONVERSION_SECONDS, CONVERSIONS
from services.artifacts.upload_progress import Progress
from shared import replies
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
    """Spool the body and convert it at the same time; raises what the conversion raises, once the body is read."""
    started = time.monotonic()
    loop = asyncio.get_running_loop()
    converting = loop.run_in_executor(app.converters, _converted, spool, target, wishes)
    try:
        await _spool(pieces, spool, converting, app.settings.dataset_max_bytes, progress)
        spool.finish()
        progress.phase = "Converting"
    except BaseException:
        spool.abort()
        raise
    finally:
        # The thread must be gone before its folder is.
        await asyncio.shield(asyncio.gather(converting, return_exceptions=True))
        BYTES_IN.labels("dataset").inc(spool.size)
    conversion = converting.result()
    CONVERSION_SECONDS.observe(time.monotonic() - started)
    return conversion


def _converted(spool: Spool, target: Path, wishes: Wishes) -> Conversion:
    try:
        conversion = convert(spool, target, wishes)
    except BaseException as error:
        CONVERSIONS.labels("unknown", "aborted" if isinstance(error, SpoolAborted) else "refused").inc()
        raise
    CONVERSIONS.labels(conversion.source["format"], "ok").inc()
    return conversion


async def _spool(
    pieces: AsyncIterator[bytes],
    spool: Spool,
    converting: asyncio.Future[Conversion],
    limit: int,
    progress: Progress,
) -> None:
    """Read the body to its end even when the converter has refused it: the sender hears why only then."""
    waiting = bytearray()
    received = 0
    async for piece in pieces:
        received += len(piece)
        progress.bytes_received = received
        if received > limit:
            raise TooLarge(f"The file is larger than {limit} bytes, which is the limit.")
        if converting.done():
            continue
        waiting += piece
        if len(waiting) >= APPEND_BYTES:
            await asyncio.to_thread(spool.append, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(spool.append, bytes(waiting))
