"""What gateway, worker and executor do with artifacts, in short words."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from pydantic import BaseModel

from deploy.local import Stack
from services.artifacts import model
from shared import envelope as envelopes
from shared import replies, tickets
from shared.broker import Broker
from shared.contracts.base import Caller, Command, Event, Scope, Wire
from shared.contracts.datasets import Dataset, OpenDatasetUpload, UploadTicket
from shared.contracts.results import ArtifactEntry, ArtifactList, ListArtifacts, Packed, SealManifest
from shared.contracts.transfers import (
    ARCHIVE_DOWNLOAD,
    ARTIFACT_DOWNLOAD,
    DATASET_DOWNLOAD,
    ArchiveDownload,
    ArtifactDownload,
    DatasetDownload,
)
from shared.objects import S3ObjectStore
from shared.requests import Requests

R = TypeVar("R", bound=BaseModel)
PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # in any letter case
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Client:
    """One tenant and project."""

    stack: Stack
    broker: Broker
    requests: Requests
    objects: S3ObjectStore
    session: aiohttp.ClientSession
    scope: Scope = field(default_factory=lambda: Scope(tenant_id=uuid4(), project_id=uuid4()))
    caller: Caller = field(default_factory=lambda: Caller(subject="anna"))

    async def ask(self, command: type[Command[R]], **members: Any) -> R:
        """Ask over the bus."""
        return await self.requests.ask(command(**{"scope": self.scope, "caller": self.caller, **members}))

    async def ticket(self, dataset_id: UUID | None = None, **members: Any) -> UploadTicket:
        """The right to upload one file."""
        given = {"dataset_name": "log.csv", "file_name": "log.csv", **members}
        return await self.ask(OpenDatasetUpload, dataset_id=dataset_id or uuid4(), **given)

    async def send(self, ticket: UploadTicket, data: bytes) -> Dataset:
        """Upload a file; raises what the service answers."""

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), PIECE_BYTES):
                yield data[start : start + PIECE_BYTES]

        headers = {"Authorization": f"Ticket {ticket.ticket}"}
        async with self.session.put(ticket.url, data=pieces(), headers=headers) as answer:
            reply = replies.decode(await answer.read())
        reply.raise_error()
        return Dataset.model_validate(reply.data)

    async def upload(self, data: bytes, dataset_id: UUID | None = None, **members: Any) -> Dataset:
        """Ticket and upload in one."""
        return await self.send(await self.ticket(dataset_id, **members), data)

    def authorization(self, claims: Wire, purpose: str) -> dict[str, str]:
        """The header of a request with these claims."""
        key = self.stack.folder.secret("internal")
        signed = tickets.sign(claims.model_dump(mode="json", by_alias=True), key=key, purpose=purpose, life_s=60)
        return {"Authorization": f"Ticket {signed}"}

    async def get(self, path: str, headers: dict[str, str]) -> Answer:
        """GET an internal address."""
        async with self.session.get(self.stack.artifacts.url + path, headers=headers) as answer:
            return Answer(status=answer.status, headers=answer.headers, body=await answer.read())

    async def data(self, dataset_id: UUID, form: str, *, version: int | None = None, **headers: str) -> Answer:
        """A dataset's bytes."""
        members = {"scope": self.scope, "dataset_id": dataset_id, "format": form, "version": version}
        claims = DatasetDownload.model_validate(members)
        return await self.get(
            f"/internal/datasets/{dataset_id}/data", {**self.authorization(claims, DATASET_DOWNLOAD), **headers}
        )

    async def artifact(self, run: UUID, artifact_id: UUID, query: str = "", **headers: str) -> Answer:
        """An artifact's bytes under epoch 1."""
        claims = ArtifactDownload(scope=self.scope, execution_id=run, epoch=1, artifact_id=artifact_id)
        return await self.get(
            f"/internal/artifacts/{artifact_id}{query}", {**self.authorization(claims, ARTIFACT_DOWNLOAD), **headers}
        )

    async def archive(self, run: UUID, **members: Any) -> zipfile.ZipFile:
        """The zip of a run's artifacts under epoch 1, every checksum in it found right."""
        claims = ArchiveDownload(scope=self.scope, execution_id=run, epoch=1, **members)
        answer = await self.get(f"/internal/executions/{run}/archive", self.authorization(claims, ARCHIVE_DOWNLOAD))
        assert (answer.status, int(answer.headers["Content-Length"])) == (200, len(answer.body))
        archive = zipfile.ZipFile(io.BytesIO(answer.body))
        assert archive.testzip() is None
        return archive

    async def seal(self, run: UUID, notebook: UUID, entries: list[ArtifactEntry], *, final: bool = True) -> None:
        """Register a run's artifacts under epoch 1."""
        await self.ask(SealManifest, execution_id=run, notebook_id=notebook, epoch=1, final=final, entries=entries)

    async def listed(self, run: UUID, **filters: Any) -> list[ArtifactEntry]:
        """The artifacts of a run under epoch 1."""
        answer: ArtifactList = await self.ask(ListArtifacts, execution_id=run, epoch=1, **filters)
        return answer.artifacts

    async def stored(self, run: UUID, name: str, data: bytes, **members: Any) -> ArtifactEntry:
        """Put an object as the worker does, and describe it."""
        key = f"{model.epoch_prefix(self.scope, run, 1)}{name}"
        await self.objects.put(key, data, "application/octet-stream")
        return entry(data, file_name=name, object_key=key, **members)

    async def packed(
        self, run: UUID, bodies: Sequence[bytes], *, first: int = 0, **members: Any
    ) -> list[ArtifactEntry]:
        """Put several artifacts into one object as the worker does; `first` is the first one's position."""
        key = f"{model.epoch_prefix(self.scope, run, 1)}{uuid4()}"
        await self.objects.put(key, b"".join(bodies), "application/octet-stream")
        offsets = accumulate(map(len, bodies), initial=0)
        return [
            entry(
                body,
                position=first + number,
                file_name=f"packed-{first + number}.txt",
                pack=Packed(object_key=key, offset=offset),
                crc32=zlib.crc32(body),
                **members,
            )
            for number, (body, offset) in enumerate(zip(bodies, offsets, strict=False))
        ]

    async def hear(self, event: Event) -> None:
        """Publish a fact as its service would."""
        await self.broker.publish_fact(event.routing_key(), envelopes.of_event(event, source="tests").encode())

    async def keys(self) -> list[str]:
        """Every object of this project."""
        return await self.objects.keys(f"{self.scope.tenant_id}/{self.scope.project_id}/")

    async def sql(self, statement: str, *arguments: Any) -> Any:
        """One value from the service's tables."""
        connection = await asyncpg.connect(self.stack.postgres_dsn, server_settings={"search_path": "artifacts"})
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()


def entry(data: bytes, **members: Any) -> ArtifactEntry:
    """A manifest entry for these bytes, inline unless an object key is given."""
    given = {
        "artifact_id": uuid4(),
        "kind": "output",
        "position": 0,
        "name": "x",
        "file_name": "x.bin",
        "content_type": "application/octet-stream",
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if members.get("object_key") is None and members.get("pack") is None:
        given["inline"] = base64.b64encode(data).decode()
    return ArtifactEntry.model_validate({**given, **members})
