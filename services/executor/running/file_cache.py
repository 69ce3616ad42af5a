"""Contents of notebooks' files on the worker's disk, by hash: fetched once, copied into every run that has them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import structlog

from services.executor import file_lock
from shared.contracts.base import Caller, Scope
from shared.contracts.files import LocateContents, StoredContent
from shared.contracts.notebooks import FileReference
from shared.errors import NotFound
from shared.objects import ObjectStore
from shared.requests import Requests

log = structlog.get_logger(__name__)

MAX_BYTES = 5_000_000_000
"""How much disk the cache may hold, in bytes; the contents unused longest go first."""

IN_USE_S = 900.0
"""A content that was wanted within so many seconds stays: a run may be about to copy it."""

AT_ONCE = 8
"""Contents of one run that are fetched at a time."""


class FileCache:
    """The cache of a worker, as one of its slots uses it: they share `folder`, which goes with the worker. Kernels
    never see what is in it: they get copies."""

    def __init__(self, folder: Path, objects: ObjectStore, requests: Requests) -> None:
        self._folder = folder
        self._objects = objects
        self._requests = requests
        self._fetches: dict[str, asyncio.Task[None]] = {}

    async def contents(
        self, scope: Scope, caller: Caller, notebook_id: UUID, files: Sequence[FileReference]
    ) -> Mapping[str, Path]:
        """Return where the contents of the files lie, by hash. Raises Unavailable, and NotFound when one is gone. A
        caller may be cancelled; what is being fetched is fetched to its end all the same, for whoever comes next."""
        wanted = {file.sha256: file for file in files}
        missing = await asyncio.to_thread(self._missing, list(wanted))
        if missing:
            answer = await self._requests.ask(
                LocateContents(scope=scope, caller=caller, notebook_id=notebook_id, sha256s=missing)
            )
            located = {content.sha256: content for content in answer.contents}
            for sha256 in missing:
                if sha256 not in located:
                    raise _gone(wanted[sha256])
            await asyncio.to_thread(self._make_room, sum(content.size_bytes for content in located.values()))
            turn = asyncio.Semaphore(AT_ONCE)

            async def fetch(sha256: str) -> None:
                async with turn:
                    try:
                        await self._once(located[sha256])
                    except NotFound as error:
                        raise _gone(wanted[sha256]) from error

            outcomes = await asyncio.gather(*map(fetch, missing), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        return {sha256: self._folder / sha256 for sha256 in wanted}

    async def _once(self, content: StoredContent) -> None:
        fetch = self._fetches.get(content.sha256)
        if fetch is None:
            fetch = self._fetches[content.sha256] = asyncio.create_task(self._fetch(content))
            fetch.add_done_callback(lambda done: self._forget(content.sha256, done))
        await asyncio.shield(fetch)

    def _forget(self, sha256: str, done: asyncio.Task[None]) -> None:
        del self._fetches[sha256]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("content of a file not fetched", reason=str(error))

    async def _fetch(self, content: StoredContent) -> None:
        async with file_lock.alone(self._folder / f".{content.sha256}.lock"):
            await self._fetch_alone(content)

    async def _fetch_alone(self, content: StoredContent) -> None:
        path = self._folder / content.sha256
        if await asyncio.to_thread(path.exists):
            return  # another run has fetched it since this one looked
        partial = path.with_suffix(".partial")
        await self._objects.get_file(content.object_key, partial)
        await asyncio.to_thread(_keep, partial, path, content.sha256)

    def _missing(self, sha256s: list[str]) -> list[str]:
        """Return those that are not here; mark the others as used."""
        missing = []
        for sha256 in sha256s:
            try:
                os.utime(self._folder / sha256)
            except FileNotFoundError:
                missing.append(sha256)
        return missing

    def _make_room(self, wanted: int) -> None:
        self._folder.mkdir(exist_ok=True, mode=0o700)
        states = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # another run makes room, too, or has fetched it whole
                states.append((entry.stat(), entry.path))
        total = wanted + sum(state.st_size for state, _ in states)
        for state, path in sorted(states, key=lambda one: one[0].st_mtime):
            if total <= MAX_BYTES or time.time() - state.st_mtime < IN_USE_S:
                return
            total -= state.st_size
            Path(path).unlink(missing_ok=True)


def _gone(file: FileReference) -> NotFound:
    return NotFound(f"The content of {file.path} is gone from the object store.")


def _keep(partial: Path, path: Path, sha256: str) -> None:
    """Make what was fetched a content of the cache. Raises NotFound when it is another one."""
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        partial.unlink()
        raise NotFound("The object store has other bytes under this content's key.")
    partial.chmod(0o400)
    partial.rename(path)
