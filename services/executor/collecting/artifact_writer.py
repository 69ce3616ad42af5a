"""Stores the bytes of artifacts: small ones in their entry, larger ones as objects under (execution, epoch)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.executor.collecting.beneath import OpenFile
from shared.contracts.base import Caller, Scope
from shared.contracts.datasets import Dataset
from shared.contracts.results import ArtifactEntry, ArtifactKind
from shared.objects import ObjectStore

INLINE_BYTES = 32 * 1024
"""Bytes up to this size travel in the manifest and are kept in its row; larger ones become objects."""

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
        digest = hashlib.sha256(body).hexdigest()
        self._keep(
            kind,
            name,
            file_name,
            content_type,
            artifact_id=identity,
            size_bytes=len(body),
            sha256=digest,
            object_key=key,
            inline=inline,
            **members,
        )

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
        size, digest = await asyncio.to_thread(_measure, path)
        if size <= INLINE_BYTES:
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
            size_bytes=size,
            sha256=digest,
            object_key=key,
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


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest
