"""The folder of built environments: who builds, who uses, what is removed. Shared by all workers of a work folder."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import orjson
import structlog

from services.executor import file_lock, to_the_end
from services.executor.environments import untrusted

log = structlog.get_logger(__name__)

CACHE_LOCK = "cache"
"""The lock of whoever uses the cache (shared) or removes it (alone)."""

KEPT_S = 2 * 86_400.0
"""How long a choice of versions is kept, and a lock that nobody holds, in seconds: longer than a choice is good."""

FACTS = "atelier.json"
"""What is known of an environment, inside its folder."""


class Lease:
    """An environment in use: it is not removed before `close`."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    def close(self) -> None:
        """Give it back. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Shelf:
    """Environments by name under `root`, at most about `max_bytes` of them: the longest unused go first."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self.root = root
        self.scratch = root / "scratch"
        self.cache = root / "cache"
        self._max_bytes = max_bytes
        self._built = root / "built"
        self._building = root / "building"
        self._resolved = root / "resolved"
        self._locks = root / "locks"

    async def open(self) -> None:
        """Make the folders, and clear away what builds of dead workers left."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        for folder in (self._built, self._building, self._resolved, self._locks, self.scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        for left in self._building.iterdir():
            descriptor = file_lock.at_once(self._locks / f"{left.name.partition('.')[0]}.build", fcntl.LOCK_EX)
            if descriptor is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(descriptor)

    @contextlib.asynccontextmanager
    async def building(self, name: str) -> AsyncIterator[None]:
        """Only one at a time, of all workers, does what is named so; others wait and find it done."""
        descriptor = await file_lock.acquired(self._locks / f"{name}.build", fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    @contextlib.asynccontextmanager
    async def cache_in_use(self) -> AsyncIterator[Path]:
        """The cache of packages, which is not removed meanwhile."""
        descriptor = await file_lock.acquired(self._locks / CACHE_LOCK, fcntl.LOCK_SH)
        try:
            yield self.cache
        finally:
            os.close(descriptor)

    def new_folder(self, name: str) -> Path:
        """Where an environment is built before it is put on the shelf."""
        folder = self._building / f"{name}.{uuid4().hex[:8]}"
        folder.mkdir()
        return folder

    def lease(self, name: str) -> Lease | None:
        """The environment, kept from removal; None when it is not (or no longer) there."""
        use = self._locks / f"{name}.use"
        descriptor = file_lock.at_once(use, fcntl.LOCK_SH)
        if descriptor is None:
            return None  # it is being removed
        folder = self._built / name
        if not (folder / FACTS).exists():
            os.close(descriptor)
            return None
        os.utime(use)
        return Lease(folder, descriptor)

    async def publish(self, built: Path, name: str) -> Lease:
        """Put a finished environment on the shelf, whole or not at all, and take it in use."""
        descriptor = await file_lock.acquired(self._locks / f"{name}.use", fcntl.LOCK_SH)
        try:
            await to_the_end.in_thread(self._publish, built, name)
        except BaseException:
            os.close(descriptor)
            raise
        return Lease(self._built / name, descriptor)

    def _publish(self, built: Path, name: str) -> None:
        untrusted.take_over(built)
        untrusted.write(built / FACTS, orjson.dumps({"bytes": size_of(built)}))
        target = self._built / name
        if target.exists():  # of a format that is no longer read
            shutil.rmtree(target, ignore_errors=True)
        built.rename(target)

    async def trim(self) -> None:
        """Remove environments that nobody uses, longest unused first, until the rest fits; and too large a cache."""
        await asyncio.to_thread(self._trim)

    def _trim(self) -> None:
        sizes: dict[str, int] = {}
        for folder in self._built.iterdir():
            with contextlib.suppress(OSError, ValueError, KeyError):
                sizes[folder.name] = orjson.loads((folder / FACTS).read_bytes())["bytes"]
        total = sum(sizes.values())
        for name in sorted(sizes, key=self._last_use):
            if total <= self._max_bytes:
                break
            if self._remove(name):
                total -= sizes[name]
        if size_of(self.cache) > self._max_bytes:
            self._remove_cache()
        self._forget_the_old()

    def _forget_the_old(self) -> None:
        """Remove choices of versions that are no longer good, and locks that nobody has needed for as long."""
        for file in self._resolved.iterdir():
            if _age_s(file) > KEPT_S:
                file.unlink(missing_ok=True)
        for lock in self._locks.iterdir():
            if lock.name == CACHE_LOCK or (self._built / lock.stem).exists() or _age_s(lock) <= KEPT_S:
                continue
            descriptor = file_lock.at_once(lock, fcntl.LOCK_EX)
            if descriptor is not None:
                lock.unlink(missing_ok=True)
                os.close(descriptor)

    def _remove_cache(self) -> None:
        descriptor = file_lock.at_once(self._locks / CACHE_LOCK, fcntl.LOCK_EX)
        if descriptor is not None:
            try:
                discard(self.cache, self._building)
            finally:
                os.close(descriptor)
            log.info("package cache removed: it had outgrown the limit")

    def _last_use(self, name: str) -> float:
        try:
            return (self._locks / f"{name}.use").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _remove(self, name: str) -> bool:
        descriptor = file_lock.at_once(self._locks / f"{name}.use", fcntl.LOCK_EX)
        if descriptor is None:
            return False
        try:
            discard(self._built / name, self._building)
        finally:
            os.close(descriptor)
        log.info("environment removed", environment=name)
        return True

    def resolution(self, key: str) -> dict[str, object] | None:
        """What was kept under `key`, or None."""
        try:
            kept: dict[str, object] = orjson.loads((self._resolved / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return kept

    def keep_resolution(self, key: str, found: dict[str, object]) -> None:
        """Keep `found` under `key`."""
        draft = self._resolved / f"{key}.{uuid4().hex[:8]}"
        draft.write_bytes(orjson.dumps(found))
        draft.rename(self._resolved / f"{key}.json")


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def discard(folder: Path, aside: Path) -> None:
    """Remove a folder: first out of sight, so that nobody finds half of it."""
    gone = aside / f"{folder.name}.{uuid4().hex[:8]}"
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes that a folder's files take on the disk; 0 for one that is not there."""
    total = 0
    for root, _folders, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_blocks * 512  # noqa: PTH118 - hot loop
    return total
