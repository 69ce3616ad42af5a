"""Stores the bytes of artifacts: small ones in their entry, others in objects under (execution, epoch)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.executor.collecting.beneath import OpenFile
from services.executor.collecting.packs import PACKED_BYTES, Packs
from shared.contracts.base import Caller, Scope
from shared.contracts.datasets import Dataset
from shared.contracts.results import ArtifactEntry, ArtifactKind
from shared.objects import ObjectStore

INLINE_BYTES = 32 * 1024
"""Bytes up to this size travel in the manifest and are kept in its row; larger ones go to the object store."""

MEASURED_BYTES = 1024 * 1024
"""How much of a file is read at a time to measure it, in bytes."""

NAME_LENGTH = 200
"""Longest name of an artifact, in characters."""

_UNSAFE = re.compile(r"[^\w.\- ]+")


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """Where a run's artifacts belong."""

    scope: Scope
    caller: Caller
    execution_id: UUID
    notebook_id: UUID
    epoch: int
    output_format: str
    notebook_name: str
    enrichment_mode: bool = False
    dataset: Dataset | None = None
    """The dataset version that the run reads."""

    @property
    def prefix(self) -> str:
        """The object keys of this epoch begin so (DESIGN.md decision 6)."""
        return f"{self.scope.tenant_id}/{self.scope.project_id}/{self.execution_id}/{self.epoch}"


class FileChanged(Exception):
    """A file was written to while it was being stored."""


class ArtifactWriter:
    """Makes the entries of one run in order. Raises Unavailable while the object store is down."""

    def __init__(self, identity: RunIdentity, objects: ObjectStore) -> None:
        self.entries: list[ArtifactEntry] = []
        self._identity = identity
        self._objects = objects
        self._packs = Packs(identity.prefix, objects)

    async def add_output(
        self, kind: ArtifactKind, name: str, file_name: str, content_type: str, body: bytes, **members: Any
    ) -> None:
        """The same as `add_bytes` for one of many: its bytes may lie in a pack, which `store_packs` stores."""
        if not INLINE_BYTES < len(body) <= PACKED_BYTES:
            await self.add_bytes(kind, name, file_name, content_type, body, **members)
            return
        pack = await self._packs.add(body)
        self._keep(kind, name, file_name, content_type, artifact_id=uuid4(), pack=pack, **_measures(body), **members)

    async def add_bytes(
        self, kind: ArtifactKind, name: str, file_name: str, content_type: str, body: bytes, **members: Any
    ) -> None:
        """Keep `body` as an artifact; `members` are further members of its entry."""
        identity, key, inline = uuid4(), None, None
        if len(body) <= INLINE_BYTES:
            inline = base64.b64encode(body).decode()
        else:
            key = f"{self._identity.prefix}/{identity}"
            await self._objects.put(key, body, content_type)
        # For small ones the way to a thread and back takes longer.
        measures = _measures(body) if inline is not None else await asyncio.to_thread(_measures, body)
        self._keep(
            kind,
            name,
            file_name,
            content_type,
            artifact_id=identity,
            object_key=key,
            inline=inline,
            **measures,
            **members,
        )

    def adopt(self, entry: ArtifactEntry) -> None:
        """Take an entry whose bytes were stored before, at the next position."""
        self.entries.append(entry.model_copy(update={"position": len(self.entries) + 1}))

    async def store_packs(self) -> None:
        """Store what the entries name that is not stored yet; to be done before they are registered, and safe to
        repeat. Raises Unavailable."""
        await self._packs.store()

    async def add_file(
        self,
        kind: ArtifactKind,
        name: str,
        file_name: str,
        content_type: str,
        path: Path,
        *,
        unchanged: OpenFile | None = None,
        **members: Any,
    ) -> None:
        """Keep a file as an artifact, streamed when it is large. `unchanged` is the file that somebody else may still
        be writing to: raises FileChanged when what was stored is not what was measured."""
        measures = await asyncio.to_thread(_measure, path)
        if measures["size_bytes"] <= INLINE_BYTES:
            body = await asyncio.to_thread(_read, path)
            await self.add_bytes(kind, name, file_name, content_type, body, **members)
            return
        identity = uuid4()
        key = f"{self._identity.prefix}/{identity}"
        await self._objects.put_file(key, path, content_type)
        if unchanged is not None and unchanged.has_changed():
            await self._objects.remove([key])
            raise FileChanged
        self._keep(
            kind,
            name,
            file_name,
            content_type,
            artifact_id=identity,
            object_key=key,
            **measures,
            **members,
        )

    def _keep(self, kind: ArtifactKind, name: str, file_name: str, content_type: str, **members: Any) -> None:
        """Note an artifact whose bytes are stored; its position is its place in the order of saving."""
        self.entries.append(
            ArtifactEntry(
                kind=kind,
                position=len(self.entries) + 1,
                name=name[:NAME_LENGTH],
                file_name=safe_name(file_name),
                content_type=content_type,
                **members,
            )
        )


def safe_name(name: str) -> str:
    """A file name that is safe in every file system and header."""
    return _UNSAFE.sub("_", name).strip(". ")[:120] or "artifact"


def _read(path: Path) -> bytes:
    """A small file, however much it has grown since it was measured."""
    with path.open("rb") as file:
        return file.read(INLINE_BYTES)


def _measures(body: bytes) -> dict[str, Any]:
    """What an entry says of its bytes."""
    return {"size_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "crc32": zlib.crc32(body)}


def _measure(path: Path) -> dict[str, Any]:
    """The same of a file."""
    digest, crc32, size = hashlib.sha256(), 0, 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MEASURED_BYTES):
            digest.update(piece)
            crc32 = zlib.crc32(piece, crc32)
            size += len(piece)
    return {"size_bytes": size, "sha256": digest.hexdigest(), "crc32": crc32}
