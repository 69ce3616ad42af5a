"""The worker's cache of files' contents: fetched once, verified, and kept as long as there is room."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.executor.running import file_cache
from services.executor.running.file_cache import FileCache
from shared.contracts.base import Caller, Scope
from shared.contracts.files import LocateContents, StoredContent, StoredContents
from shared.contracts.notebooks import FileReference
from shared.errors import NotFound
from tests.contract.memory_object_store import MemoryObjectStore

SCOPE, CALLER, NOTEBOOK = Scope(tenant_id=uuid4(), project_id=uuid4()), Caller(subject="anna"), uuid4()


class Store(MemoryObjectStore):
    """Counts what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    async def get_file(self, key: str, path: Path) -> None:
        self.fetched.append(key)
        await asyncio.sleep(0)
        await super().get_file(key, path)


class Artifacts:
    """Artifacts, as far as the cache asks it: the key of a content is its hash."""

    def __init__(self) -> None:
        self.asked: list[LocateContents] = []
        self.gone: set[str] = set()

    async def ask(self, command: LocateContents) -> StoredContents:
        self.asked.append(command)
        return StoredContents(
            contents=[
                StoredContent(sha256=one, size_bytes=1, object_key=one)
                for one in command.sha256s
                if one not in self.gone
            ]
        )


class Bench:
    def __init__(self, folder: Path) -> None:
        self.store, self.artifacts, self.folder = Store(), Artifacts(), folder / "files"
        self.cache = FileCache(self.folder, self.store, self.artifacts)  # type: ignore[arg-type]  # one question

    async def file(self, path: str, body: bytes) -> FileReference:
        sha256 = hashlib.sha256(body).hexdigest()
        await self.store.put(sha256, body, "application/octet-stream")
        return FileReference(path=path, size_bytes=len(body), sha256=sha256)

    async def contents(self, *files: FileReference) -> Any:
        return await self.cache.contents(SCOPE, CALLER, NOTEBOOK, files)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_each_content_is_fetched_once(bench: Bench) -> None:
    a, b, again = await bench.file("a", b"1"), await bench.file("b", b"2"), await bench.file("c/d", b"1")
    found = await asyncio.gather(*(bench.contents(a, b, again) for _ in range(5)))
    assert {one[a.sha256].read_bytes() for one in found} == {b"1"}
    assert sorted(bench.store.fetched) == sorted([a.sha256, b.sha256])
    asked = len(bench.artifacts.asked)
    await bench.contents(a, b)
    assert len(bench.artifacts.asked) == asked
    assert sorted(path.name for path in bench.folder.iterdir()) == sorted([a.sha256, b.sha256])


async def test_what_is_gone_or_is_not_what_it_should_be_is_named(bench: Bench) -> None:
    gone, lost, other = [await bench.file(name, name.encode()) for name in ("gone", "lost", "other")]
    bench.artifacts.gone.add(gone.sha256)
    await bench.store.remove([lost.sha256])
    await bench.store.put(other.sha256, b"of somebody else", "application/octet-stream")
    for file in (gone, lost, other):
        with pytest.raises(NotFound, match=file.path):
            await bench.contents(file)
    assert list(bench.folder.glob("*")) == []


async def test_room_is_made_of_what_nobody_uses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_cache, "MAX_BYTES", 250)
    old, used, new = [await bench.file(name, name.encode() * 25) for name in ("old.", "used", "new.")]
    found = await bench.contents(old, used)
    past = time.time() - 2 * file_cache.IN_USE_S
    os.utime(found[old.sha256], (past, past))
    monkeypatch.setattr(
        bench.artifacts,
        "ask",
        lambda command: _located(command, 100),
    )
    await bench.contents(used, new)
    assert sorted(path.name for path in bench.folder.iterdir()) == sorted([used.sha256, new.sha256])


async def _located(command: LocateContents, size: int) -> StoredContents:
    return StoredContents(
        contents=[StoredContent(sha256=one, size_bytes=size, object_key=one) for one in command.sha256s]
    )
