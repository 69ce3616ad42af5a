"""Makes a converted file a version of a dataset: its object first, then row, event and reply in one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import structlog

from services.artifacts import model, store
from services.artifacts.formats.conversion import Conversion
from services.artifacts.formats.spool import Spool
from services.artifacts.store import queries
from shared import envelope as envelopes
from shared import telemetry
from shared.command_log import AlreadyDone, WriteTransaction
from shared.contracts.base import Idempotency
from shared.contracts.datasets import Dataset, DatasetCreated, DatasetEvent, DatasetUpdated, OpenDatasetUpload
from shared.contracts.transfers import DatasetUpload
from shared.errors import AtelierError, Conflict, NotFound, OutcomeUnknown, Unavailable
from shared.replies import Reply
from shared.responder import Context

if TYPE_CHECKING:
    from services.artifacts.app import App

log = structlog.get_logger(__name__)

COMMIT_DEADLINE = timedelta(seconds=20)
"""How long the transaction at the end may take: the caller waits no longer."""


PATIENCE_S, RETRY_S = 10.0, 0.2
"""How long the database may be away while a version is being recorded, and the pause between tries, in seconds."""

T = TypeVar("T")


class GivenUp(Unavailable):
    """The object was taken for a dead process's leaving."""


async def keep(app: App, upload: DatasetUpload, conversion: Conversion, spool: Spool, target: Path) -> Reply:
    """Store the Parquet file, then make it the dataset's version; the first answer when this was done before."""
    key = model.dataset_key(upload.scope, upload.dataset_id, uuid4())
    await _patiently(lambda: announce(app, key))
    try:
        await app.objects.put_file(key, target, model.PARQUET_TYPE)
        return Reply.of(await _patiently(lambda: _commit(app, upload, conversion, spool.sha256, key)))
    except BaseException as error:
        await asyncio.shield(abandon(app, key))
        if isinstance(error, AlreadyDone):
            return error.reply
        raise


async def _patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Try a step again while the database is away: the bytes have arrived, and sending them again costs more. Raises
    OutcomeUnknown when one try was in doubt and no later one could tell."""
    give_up = time.monotonic() + PATIENCE_S
    doubt: OutcomeUnknown | None = None
    while True:
        try:
            return await step()
        except GivenUp:
            raise
        except (Unavailable, OutcomeUnknown) as error:
            doubt = error if isinstance(error, OutcomeUnknown) else doubt
            if time.monotonic() >= give_up:
                raise (doubt or error) from error
        await asyncio.sleep(RETRY_S)


async def announce(app: App, key: str) -> None:
    """Note that an object is being uploaded, so that it goes should this process end before it is referred to."""
    async with app.database.connection() as connection:
        await connection.execute(queries.announce_object, key, app.outbox.owner)


async def _commit(app: App, upload: DatasetUpload, conversion: Conversion, file_sha256: str, key: str) -> Dataset:
    context = _context(app, upload, file_sha256)
    async with context.transaction() as tx:
        if await tx.sql.value(queries.seal_object, key) is None:
            raise GivenUp("The upload took too long to be stored; try again.")
        if upload.purpose == "create":
            await _create(tx, upload)
            version = 1
        else:
            version = await _replace(tx, upload)
        await store.insert_version(tx.sql, upload.dataset_id, version, key, conversion, upload=upload)
        if upload.artifact is not None:
            origin = upload.artifact.origin
            text = origin.model_dump_json(by_alias=True)
            await tx.sql.execute(queries.set_origin, upload.dataset_id, version, origin.execution_id, text)
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
    present = await store.find_dataset(tx.sql, scope, upload.dataset_id)
    if present is None:
        raise NotFound("The dataset was deleted meanwhile.")
    etag = model.dataset_etag(present[0].version, present[0].sha256)
    model.check_precondition(upload.precondition, etag=etag, modified_at=present[0].date_modified)
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
    return Context(envelope, command, app.database, kept=app.replies)


async def abandon(app: App, key: str) -> None:
    """Have an object removed that nothing refers to. When the database is away, the sweep finds it."""
    try:
        async with app.database.connection() as connection:
            await connection.execute(queries.abandon_object, key)
        app.removals.wake()
    except AtelierError as error:
        log.warning("unfinished upload left to the sweep", reason=error.detail)
