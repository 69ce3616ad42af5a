"""`PUT /internal/datasets/{id}`: a file becomes a dataset version while it arrives (DESIGN.md decision 4).

Bytes go to a local spool; a thread converts them behind the writer. Only when the Parquet object is stored does one
transaction make the version exist, with its event and its reply.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from aiohttp import web

from services.artifacts import model, store, ticketed
from services.artifacts.formats.conversion import Conversion, Wishes
from services.artifacts.formats.converter import convert
from services.artifacts.formats.roles import Roles
from services.artifacts.formats.spool import Spool, SpoolAborted
from services.artifacts.metrics import BYTES_IN, CONVERSION_SECONDS, CONVERSIONS
from services.artifacts.store import queries
from shared import envelope as envelopes
from shared import telemetry
from shared.contracts.base import Idempotency
from shared.contracts.datasets import (
    Dataset,
    DatasetCreated,
    DatasetEvent,
    DatasetUpdated,
    OpenDatasetUpload,
)
from shared.contracts.transfers import DATASET_UPLOAD, DatasetUpload
from shared.errors import AtelierError, Conflict, NotFound, TooLarge, Unavailable
from shared.replies import Reply
from shared.responder import AlreadyDone, Context, WriteTransaction

if TYPE_CHECKING:
    from services.artifacts.app import App

log = structlog.get_logger(__name__)

APPEND_BYTES = 1024 * 1024
"""How much is collected before it goes to the spool: one thread call for it, in bytes."""

COMMIT_DEADLINE = timedelta(seconds=20)
"""How long the transaction at the end may take: the caller waits no longer."""

PARQUET_TYPE = "application/vnd.apache.parquet"
"""Media type of Parquet (IANA)."""


async def receive_dataset(app: App, request: web.Request) -> web.Response:
    """Answers a Reply that carries the Dataset, or the fault; a fault leaves nothing behind."""
    upload = ticketed.claimed(request, DatasetUpload, key=app.internal_secret, purpose=DATASET_UPLOAD)
    ticketed.matching_id(request, upload.dataset_id)
    habit = await _habit(app, upload)
    with app.workspace.folder() as folder:
        spool = Spool(folder / "spool")
        target = folder / "data.parquet"
        wishes = Wishes(
            roles=Roles(case_id=upload.case_id_column, activity=upload.activity_column, time=upload.time_column),
            habit=habit,
            max_decompressed_bytes=app.settings.max_decompressed_bytes,
            max_columns=app.settings.max_columns,
        )
        conversion = await _receive(request, spool, target, wishes, app.settings.max_dataset_bytes)
        reply = await _keep(app, upload, conversion, spool, target)
    return web.Response(body=reply.encode(), content_type="application/json")


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


async def _receive(request: web.Request, spool: Spool, target: Path, wishes: Wishes, limit: int) -> Conversion:
    """Spool the body and convert it at the same time; raises what the conversion raises, once the body is read."""
    started = time.monotonic()
    converting = asyncio.create_task(asyncio.to_thread(_converted, spool, target, wishes))
    try:
        await _spool(request, spool, converting, limit)
        spool.finish()
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


async def _spool(request: web.Request, spool: Spool, converting: asyncio.Task[Conversion], limit: int) -> None:
    """Read the body to its end even when the converter has refused it: the sender hears why only then."""
    waiting = bytearray()
    received = 0
    async for piece in request.content.iter_any():
        received += len(piece)
        if received > limit:
            raise TooLarge(f"The file is larger than {limit} bytes, which is the limit.")
        if converting.done():
            continue
        waiting += piece
        if len(waiting) >= APPEND_BYTES:
            await asyncio.to_thread(spool.append, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(spool.append, bytes(waiting))


async def _keep(app: App, upload: DatasetUpload, conversion: Conversion, spool: Spool, target: Path) -> Reply:
    """Store the Parquet file, then make it the dataset's version; the first answer when this was done before."""
    key = model.dataset_key(upload.scope, upload.dataset_id, uuid4())
    async with app.database.connection() as connection:
        await connection.execute(queries.announce_object, key, app.outbox.owner)
    try:
        await app.objects.put_file(key, target, PARQUET_TYPE)
        return Reply.of(await _commit(app, upload, conversion, spool.sha256, key))
    except BaseException as error:
        await asyncio.shield(_abandon(app, key))
        if isinstance(error, AlreadyDone):
            return error.reply
        raise


async def _commit(app: App, upload: DatasetUpload, conversion: Conversion, file_sha256: str, key: str) -> Dataset:
    context = _context(app, upload, file_sha256)
    async with context.transaction() as tx:
        if await tx.sql.value(queries.seal_object, key) is None:
            raise Unavailable("The upload took too long to be stored; try again.")
        if upload.purpose == "create":
            await _create(tx, upload)
            version = 1
        else:
            version = await _replace(tx, upload)
        await store.insert_version(tx.sql, upload.dataset_id, version, key, conversion)
        found = await store.find_dataset(tx.sql, upload.scope, upload.dataset_id)
        if found is None:
            raise AtelierError("The dataset that was just stored cannot be found.")
        dataset = found[0]
        event: type[DatasetEvent] = DatasetCreated if upload.purpose == "create" else DatasetUpdated
        tx.emit(
            event(
                scope=upload.scope,
                dataset_id=dataset.dataset_id,
                dataset_name=dataset.dataset_name,
                version=dataset.version,
                record_count=dataset.record_count,
            )
        )
        return tx.reply(dataset)


async def _create(tx: WriteTransaction, upload: DatasetUpload) -> None:
    scope = upload.scope
    name = model.storable(upload.dataset_name)
    if await tx.sql.value(
        queries.insert_dataset, upload.dataset_id, scope.tenant_id, scope.project_id, name, upload.caller.subject
    ):
        return
    raise Conflict("There is a dataset with this id already.")


async def _replace(tx: WriteTransaction, upload: DatasetUpload) -> int:
    scope = upload.scope
    row = await tx.sql.row(queries.lock_dataset, upload.dataset_id, scope.tenant_id, scope.project_id)
    if row is None:
        raise NotFound("The dataset was deleted meanwhile.")
    name = model.storable(upload.dataset_name) or row["dataset_name"]
    return int(await tx.sql.value(queries.raise_version, upload.dataset_id, name))


def _context(app: App, upload: DatasetUpload, file_sha256: str) -> Context:
    """The upload as the write command that it is: one id, and a fingerprint that covers fields and file."""
    idempotency = None
    if upload.idempotency is not None:
        both = f"{upload.idempotency.fingerprint}\n{file_sha256}"
        idempotency = Idempotency(
            key=upload.idempotency.key,
            route=upload.idempotency.route,
            fingerprint=hashlib.sha256(both.encode()).hexdigest(),
        )
    command = OpenDatasetUpload(
        scope=upload.scope,
        caller=upload.caller,
        idempotency=idempotency,
        dataset_id=upload.dataset_id,
        dataset_name=upload.dataset_name,
        file_name=upload.file_name,
        purpose=upload.purpose,
    )
    envelope = envelopes.of_command(
        command,
        source="artifacts",
        identity=upload.upload_id,
        deadline=datetime.now(UTC) + COMMIT_DEADLINE,
        traceparent=telemetry.traceparent(),
    )
    return Context(envelope, command, app.database)


async def _abandon(app: App, key: str) -> None:
    """Have an object removed that nothing refers to. When the database is away, the sweep finds it."""
    try:
        async with app.database.connection() as connection:
            await connection.execute(queries.abandon_object, key)
        app.removals.wake()
    except AtelierError as error:
        log.warning("unfinished upload left to the sweep", reason=error.detail)
