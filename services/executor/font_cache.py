"""matplotlib's font list, made once per worker: without it the first plot of every run would search all fonts."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

TIMEOUT_S = 60.0
"""How long the search may take, in seconds; without its result plots are slower, not wrong."""


class FontCache:
    """Fills `folder` with the font list of the kernels' interpreter."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.folder = folder
        self._python = python

    async def open(self) -> None:
        """Search the fonts."""
        self.folder.mkdir(exist_ok=True)
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "MPLCONFIGDIR": str(self.folder)}
        process = await asyncio.create_subprocess_exec(
            str(self._python),
            "-I",
            "-c",
            "import matplotlib.font_manager",
            env=environment,
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            code = await process.wait()
        if code != 0:
            log.warning("no font list; the first plot of each run will be slower")

    async def close(self) -> None:
        """Nothing is held."""
