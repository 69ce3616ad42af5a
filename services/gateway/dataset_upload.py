"""`POST dataset` and `PUT dataset/{datasetId}`: the file goes on to artifacts while it comes in, whatever the order of
the form's parts.

When the fields that are needed are known before the file begins, the bytes are sent on at once (artifacts makes the
file's hash part of an Idempotency-Key's fingerprint). They are spooled to disk as well: a field that comes after the
file changes what has to be asked of artifacts, so that transfer is then given up before its end, which stores nothing,
and a new one is made from the spool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

from services.gateway.calls import Asked
from services.gateway.dataset_bodies import DatasetReplacementFields, DatasetUploadFields
from services.gateway.decoding import refuse
from services.gateway.forms import FilePart, FormFields, parts
from services.gateway.spool import Held, Spool
from shared.contracts.datasets import Dataset, OpenDatasetUpload, UploadTicket
from shared.errors import Fault, OutcomeUnknown, Unavailable

ASK_AGAIN_S = 0.5
"""Pause before an upload whose reply was lost is sent again under the same id, in seconds."""


Fields = DatasetUploadFields | DatasetReplacementFields


@dataclass(frozen=True)
class _Early:
    """A transfer that began before all of the form was read."""

    fields: Fields
    held: Held
    where: UploadTicket
    transfer: asyncio.Task[Dataset]


@dataclass(frozen=True)
class _Aim:
    """What an upload is to become: a new dataset, or the next version of one."""

    dataset_id: UUID
    purpose: Literal["create", "replace"]
    fields: type[Fields]


async def create(asked: Asked) -> Dataset:
    """Read the form, store the file, and return the new dataset when it is ready to be bound."""
    return await _upload(asked, _Aim(uuid4(), "create", DatasetUploadFields))


async def replace(asked: Asked) -> Dataset:
    """Read the form, store the file as the next version of the dataset in the address, and return the dataset."""
    return await _upload(asked, _Aim(asked.dataset_id, "replace", DatasetReplacementFields))


async def _upload(asked: Asked, aim: _Aim) -> Dataset:
    async with Spool(asked.gateway.settings.work_dir) as spool:
        incoming = _Incoming(asked, aim, spool)
        try:
            await incoming.read_while_wanted()
            fields = incoming.form.checked(aim.fields)
            _check_file(incoming.form, incoming.size)
            refuse(incoming.form.faults)
            if fields is None:
                raise LookupError("a form without faults has its fields")
            await spool.flush()
            early = incoming.early
            if early is not None and early.fields == fields:
                ending = asyncio.create_task(early.held.end())
                try:
                    return await _sure(asked, early.where, early.transfer, spool)
                finally:
                    ending.cancel()
            await incoming.give_up()
            where = await asked.ask(_command(asked, aim, fields, incoming.form.file_name or ""))
            return await _sure(asked, where, asked.gateway.transfers.upload(where, spool.pieces()), spool)
        finally:
            await incoming.give_up()


class _Incoming:
    """The form on its way in, and the transfer of its file that may begin meanwhile."""

    def __init__(self, asked: Asked, aim: _Aim, spool: Spool) -> None:
        self._asked, self._aim, self._spool = asked, aim, spool
        self._reading: asyncio.Task[None] | None = None
        self.form = FormFields()
        self.size = 0
        self.early: _Early | None = None

    async def read_while_wanted(self) -> None:
        """Read the form to its end. A transfer that ends before has been refused: what for is raised at once, whether
        the client goes on sending or waits."""
        self._reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait({self._reading})
        finally:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        if self._reading.cancelled() and self.early is not None:
            self.early.transfer.result()
        self._reading.result()

    async def _read(self) -> None:
        settings = self._asked.gateway.settings
        files = parts(
            self._asked.request,
            self.form,
            file_limit=settings.dataset_max_bytes,
            silence_s=settings.upload_silence_s,
        )
        async for file in files:
            self.early = await self._begin(file)
            async for piece in file.pieces():
                self.size += len(piece)
                await self._spool.add(piece)
                if self.early is not None:
                    await self.early.held.put(piece)

    async def _begin(self, file: FilePart) -> _Early | None:
        """Begin to send the file on, when what is known by now is enough."""
        so_far = FormFields(values=dict(self.form.values))
        fields = so_far.checked(self._aim.fields)
        if fields is None or self.form.faults:
            return None
        where = await self._asked.ask(_command(self._asked, self._aim, fields, file.name))
        held = Held()
        transfer = asyncio.create_task(self._asked.gateway.transfers.upload(where, held.pieces()))
        transfer.add_done_callback(lambda _: self._stop_reading())
        return _Early(fields, held, where, transfer)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def give_up(self) -> None:
        """Break the transfer off before its end, so that nothing is stored."""
        early, self.early = self.early, None
        if early is not None:
            early.transfer.cancel()
            await asyncio.wait({early.transfer})
            if not early.transfer.cancelled():
                early.transfer.exception()  # seen: whoever needed to know has been told


def _check_file(form: FormFields, size: int) -> None:
    if form.file_name is None:
        form.faults.append(Fault(path="file", message="is required"))
    elif size == 0:
        form.faults.append(Fault(path="file", message="is empty"))


def _command(asked: Asked, aim: _Aim, fields: Fields, file_name: str) -> OpenDatasetUpload:
    return OpenDatasetUpload.model_validate(
        {
            "scope": asked.scope,
            "caller": asked.caller,
            "idempotency": asked.idempotency(fields),
            "dataset_id": aim.dataset_id,
            "purpose": aim.purpose,
            "file_name": file_name,
            "precondition": asked.precondition() if "If-Match" in asked.request.headers else fields.precondition(),
            **fields.members(),
        }
    )


async def _sure(asked: Asked, where: UploadTicket, transfer: Awaitable[Dataset], spool: Spool) -> Dataset:
    """The transfer's answer; when that was lost, the file is sent once more under the same id, which artifacts carries
    out once."""
    try:
        return await transfer
    except OutcomeUnknown:
        await asyncio.sleep(ASK_AGAIN_S)
        with suppress(Unavailable):
            return await asked.gateway.transfers.upload(where, spool.pieces())
        raise
