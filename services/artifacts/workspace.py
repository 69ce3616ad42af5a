"""Local scratch space of one process: a folder per transfer, gone with the transfer, swept when its process died."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import structlog

from shared import disk

log = structlog.get_logger(__name__)

LOCK_NAME = ".lock"
"""Held by the process that owns a folder, for as long as it lives: the kernel lets go of it even after kill -9."""


class Workspace:
    """The folders in which this process spools what passes through it."""

    def __init__(self, work_dir: Path) -> None:
        self._root = work_dir / "transfers"
        self._mine: Path | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Make this process's folder and remove those of dead processes."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Remove this process's folder."""
        if self._mine is not None and self._lock is not None:
            await asyncio.to_thread(shutil.rmtree, self._mine, ignore_errors=True)
            os.close(self._lock)
            self._mine = self._lock = None

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A fresh folder that is removed at the end, whatever happened; raises Unavailable where the disk is full."""
        if self._mine is None:
            raise RuntimeError("the workspace is not open")
        with disk.with_room():
            path = Path(mkdtemp(dir=self._mine))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _open(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        for folder in self._root.iterdir():
            self._remove_if_abandoned(folder)
        self._mine = Path(mkdtemp(prefix=f"{os.getpid()}-", dir=self._root))
        self._lock = os.open(self._mine / LOCK_NAME, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @staticmethod
    def _remove_if_abandoned(folder: Path) -> None:
        try:
            lock = os.open(folder / LOCK_NAME, os.O_RDWR)
        except FileNotFoundError:
            return  # another process is just making it, or has just removed it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            log.info("removing what a dead process left", folder=folder.name)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
