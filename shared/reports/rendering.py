"""Renders reports, each in a process of its own: rendering takes CPU and memory, and what it reads is hostile.

The process (`python -m shared.reports.page`) gets an empty environment and limits on memory, time and output. A few run
at a time, large notebooks one by one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal, get_args

import orjson
from pydantic import Field

from shared.contracts.base import Wire

Profile = Literal["full", "no-code"]
"""`full` shows code and outputs, `no-code` outputs and text alone. The tags of cells are honoured in both."""

PROFILES: tuple[str, ...] = get_args(Profile)

CONCURRENT = 2
"""Reports rendered at a time by one process."""

LARGE_BYTES = 8 * 1024 * 1024
"""Notebooks over this size are rendered one by one, in bytes: each takes some ten times its size in memory."""

MAX_NOTEBOOK_BYTES = 128 * 1024 * 1024
"""A larger notebook is not rendered: no browser would show the page."""

TIMEOUT_S = 120.0
"""Rendering that takes longer is given up, in seconds."""

ROOT = Path(__file__).resolve().parents[2]
"""Where `shared` is imported from."""

PROGRAM = "shared.reports.page"


class ReportError(Exception):
    """The report could not be rendered; the message says why, in words for the notebook's owner."""


class Heading(Wire):
    """What stands above a report."""

    title: str = Field("Notebook report", max_length=500)
    lines: list[str] = Field(default_factory=list)


class Renderer:
    """One per process of a service. `cache` is a folder for what takes long to make and stays the same."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._large = asyncio.Semaphore(1)

    async def render(self, notebook: Path, html: Path, *, profile: Profile, heading: Heading) -> None:
        """Render the .ipynb file `notebook` to the file `html`. Raises ReportError."""
        size = (await asyncio.to_thread(notebook.stat)).st_size
        if size > MAX_NOTEBOOK_BYTES:
            raise ReportError(f"the notebook with its outputs is larger than {MAX_NOTEBOOK_BYTES // 1024**2} MiB")
        async with AsyncExitStack() as stack:
            if size > LARGE_BYTES:
                await stack.enter_async_context(self._large)
            await stack.enter_async_context(self._slots)
            await _run(
                [str(notebook), str(html), str(self._cache), profile, orjson.dumps(heading.model_dump()).decode()]
            )


async def _run(arguments: list[str]) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", PROGRAM, *arguments, env=environment, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, errors = await process.communicate()
    except TimeoutError:
        raise ReportError(f"rendering took longer than {TIMEOUT_S:.0f} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise ReportError(lines[-1][:200] if lines else f"the renderer ended with status {process.returncode}")
