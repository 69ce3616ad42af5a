"""Bound datasets on the worker's disk, by content hash: fetched once, linked into every run that reads them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import structlog

from services.executor import file_lock
from shared.contracts.datasets import PinnedDataset
from shared.errors import AtelierError
from shared.objects import ObjectStore

log = structlog.get_logger(__name__)

MAX_BYTES = 20_000_000_000
"""How much disk the cache may hold; the files unused longest go first, in bytes."""

CSV_GROWTH = 5
"""How many times larger than its Parquet file a dataset is as CSV, at a guess."""


class DatasetCache:
    """The cache of a worker, as one of its slots uses it: they share `folder`, which goes with the worker."""

    def __init__(self, folder: Path, objects: ObjectStore) -> None:
        self._folder = folder
        self._objects = objects
        self._fetches: dict[str, asyncio.Task[Path]] = {}

    async def file(self, dataset: PinnedDataset) -> Path:
        """The dataset's Parquet file, read-only. Raises Unavailable or NotFound. A caller may be cancelled; the file
        is fetched to its end all the same, once, for whoever comes next."""
        return await self._once(dataset.dataset.sha256, lambda: self._fetch(dataset))

    async def csv(self, dataset: PinnedDataset) -> tuple[Path, list[dict[str, Any]]]:
        """The same as CSV for kernels that cannot read Parquet, and what there is to know about its columns (see
        `r_table`); made once, too. Raises as `file` does."""
        path = await self._once(f"{dataset.dataset.sha256}.csv", lambda: self._convert(dataset))
        columns: list[dict[str, Any]] = orjson.loads(await asyncio.to_thread(_columns_of(path).read_bytes))
        return path, columns

    async def _once(self, key: str, make: Callable[[], Coroutine[Any, Any, Path]]) -> Path:
        fetch = self._fetches.get(key)
        if fetch is None:
            fetch = self._fetches[key] = asyncio.create_task(self._alone(key, make))
            fetch.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(fetch)

    async def _alone(self, key: str, make: Callable[[], Coroutine[Any, Any, Path]]) -> Path:
        """What is made, by one slot at a time: whoever comes after another finds it there."""
        await asyncio.to_thread(self._folder.mkdir, exist_ok=True, mode=0o755)
        async with file_lock.alone(self._folder / f".{key}.lock"):
            return await make()

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

    async def _convert(self, dataset: PinnedDataset) -> Path:
        path = self._folder / f"{dataset.dataset.sha256}.csv"
        if await asyncio.to_thread(path.exists):
            await asyncio.to_thread(os.utime, path)
            return path
        parquet = await self.file(dataset)
        await asyncio.to_thread(self._make_room, CSV_GROWTH * dataset.dataset.size_bytes)
        await asyncio.to_thread(_write_csv, parquet, path)
        return path

    def _make_room(self, wanted: int) -> None:
        files = [file for file in self._folder.iterdir() if file.suffix in (".parquet", ".csv")]
        files.sort(key=lambda file: file.stat().st_mtime)
        total = wanted + sum(file.stat().st_size for file in files)
        for file in files:
            if total <= MAX_BYTES:
                return
            total -= file.stat().st_size
            file.unlink()
            _columns_of(file).unlink(missing_ok=True)


def _keep(partial: Path, path: Path) -> None:
    partial.chmod(0o444)
    partial.rename(path)


def _write_csv(parquet: Path, path: Path) -> None:
    from services.executor.running import r_table  # noqa: PLC0415 - pyarrow is loaded when first needed

    partial = path.with_suffix(".partial-csv")
    r_table.to_csv(parquet, partial, _columns_of(path))
    _keep(partial, path)


def _columns_of(csv: Path) -> Path:
    return csv.with_suffix(".columns.json")
