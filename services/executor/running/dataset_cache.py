"""Bound datasets on the worker's disk, by content hash: fetched once, linked into every run that reads them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog

from shared.contracts.datasets import PinnedDataset
from shared.errors import AtelierError
from shared.objects import ObjectStore

log = structlog.get_logger(__name__)

MAX_BYTES = 20_000_000_000
"""How much disk the cache may hold; the files unused longest go first, in bytes."""


class DatasetCache:
    """One per worker process; removed with the worker's folder."""

    def __init__(self, folder: Path, objects: ObjectStore) -> None:
        self._folder = folder
        self._objects = objects
        self._fetches: dict[str, asyncio.Task[Path]] = {}

    async def file(self, dataset: PinnedDataset) -> Path:
        """The dataset's Parquet file, read-only. Raises Unavailable or NotFound. A caller may be cancelled; the file
        is fetched to its end all the same, once, for whoever comes next."""
        key = dataset.dataset.sha256
        fetch = self._fetches.get(key)
        if fetch is None:
            fetch = self._fetches[key] = asyncio.create_task(self._fetch(dataset))
            fetch.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(fetch)

    def _forget(self, key: str, done: asyncio.Task[Path]) -> None:
        del self._fetches[key]
        if not done.cancelled() and isinstance(error := done.exception(), AtelierError):
            log.warning("dataset not fetched", reason=error.detail)

    async def _fetch(self, dataset: PinnedDataset) -> Path:
        path = self._folder / f"{dataset.dataset.sha256}.parquet"
        if await asyncio.to_thread(path.exists):
            await asyncio.to_thread(os.utime, path)
            return path
        await asyncio.to_thread(self._make_room, dataset.dataset.size_bytes)
        partial = path.with_suffix(".partial")
        await self._objects.get_file(dataset.object_key, partial)
        await asyncio.to_thread(_keep, partial, path)
        return path

    def _make_room(self, wanted: int) -> None:
        self._folder.mkdir(exist_ok=True, mode=0o755)
        files = sorted(self._folder.glob("*.parquet"), key=lambda file: file.stat().st_mtime)
        total = wanted + sum(file.stat().st_size for file in files)
        for file in files:
            if total <= MAX_BYTES:
                return
            total -= file.stat().st_size
            file.unlink()


def _keep(partial: Path, path: Path) -> None:
    partial.chmod(0o444)
    partial.rename(path)
