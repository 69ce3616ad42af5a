"""The worker's cache of datasets: each content is fetched once, whatever it is called and however many want it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.executor.running import dataset_cache
from services.executor.running.dataset_cache import DatasetCache
from shared.contracts.datasets import Dataset, PinnedDataset
from shared.errors import NotFound, Unavailable
from tests.contract.memory_object_store import MemoryObjectStore


class CountingStore(MemoryObjectStore):
    """Counts what is fetched; holds a fetch up, or fails it, when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.fails = 0

    async def get_file(self, key: str, path: Path) -> None:
        self.fetched.append(key)
        await self.go_on.wait()
        if self.fails:
            self.fails -= 1
            path.write_bytes(b"half")
            raise Unavailable("The object store is away.")
        await super().get_file(key, path)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def cache(tmp_path: Path, store: CountingStore) -> DatasetCache:
    return DatasetCache(tmp_path / "datasets", store)


async def pinned(store: CountingStore, body: bytes) -> PinnedDataset:
    """A dataset version of its own with this content."""
    key = f"datasets/{uuid4()}"
    await store.put(key, body, "application/vnd.apache.parquet")
    members: dict[str, Any] = {
        "dataset_id": uuid4(),
        "project_id": uuid4(),
        "dataset_name": "a log",
        "version": 1,
        "record_count": 1,
        "case_count": 1,
        "case_id_column": None,
        "activity_column": None,
        "time_column": None,
        "columns": [],
        "size_bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "date_created": "2026-01-01T00:00:00Z",
        "date_modified": "2026-01-01T00:00:00Z",
        "created_by": "anna",
        "etag": "1-x",
    }
    return PinnedDataset(dataset=Dataset.model_validate(members), object_key=key)


async def test_a_content_is_fetched_once_under_whatever_name(cache: DatasetCache, store: CountingStore) -> None:
    first, same, other = [await pinned(store, body) for body in (b"one", b"one", b"two")]
    paths = [await cache.file(dataset) for dataset in (first, first, same, other, other)]
    assert [path.read_bytes() for path in paths] == [b"one", b"one", b"one", b"two", b"two"]
    assert store.fetched == [first.object_key, other.object_key]
    assert paths[0].stat().st_mode & 0o222 == 0


async def test_runs_that_begin_at_once_share_a_fetch(cache: DatasetCache, store: CountingStore) -> None:
    dataset = await pinned(store, b"one")
    store.go_on.clear()
    waiting = [asyncio.create_task(cache.file(dataset)) for _ in range(5)]
    while not store.fetched:
        await asyncio.sleep(0)
    waiting[0].cancel()  # a run that is cancelled leaves the fetch to the others
    store.go_on.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert len(set(found[1:])) == 1
    assert store.fetched == [dataset.object_key]


async def test_half_a_fetch_is_no_dataset(cache: DatasetCache, store: CountingStore) -> None:
    dataset = await pinned(store, b"whole")
    store.fails = 1
    with pytest.raises(Unavailable):
        await cache.file(dataset)
    assert (await cache.file(dataset)).read_bytes() == b"whole"
    await store.remove([dataset.object_key])
    assert (await cache.file(dataset)).read_bytes() == b"whole"
    with pytest.raises(NotFound):
        await cache.file((await pinned(store, b"new")).model_copy(update={"object_key": "gone"}))
    assert store.fetched == [dataset.object_key] * 2 + ["gone"]


async def test_what_was_used_longest_ago_makes_room(
    cache: DatasetCache, store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_cache, "MAX_BYTES", 10)
    old, used, new = [await pinned(store, body) for body in (b"aaaa", b"bbbb", b"cccc")]
    for moment, dataset in enumerate((old, used)):
        os.utime(await cache.file(dataset), (moment, moment))
    await cache.file(new)
    store.fetched.clear()
    for dataset in (used, new, old):
        await cache.file(dataset)
    assert store.fetched == [old.object_key]
