"""Watches what a build writes, and says so when that is more than it may be: one package can fill a disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.executor import wording
from services.executor.environments.rules import EnvironmentBuildError
from services.executor.running import footprint

LOOK_S = 0.5
"""Pause between two looks, in seconds."""

LOOK_SHARE = 0.2
"""Looking at large folders may take this share of the time."""

MAX_FILES = 300_000
"""Files and folders of one build; an environment with all that the base one has is about a tenth of it."""

ALL = 10**12
"""More files than there are."""


class TooLarge(EnvironmentBuildError):
    """A build has grown over a limit."""


@dataclass
class Growth:
    """Of the `own` folders of one build, and of a `shared` one since the first look. Called from threads."""

    own: Sequence[Path]
    shared: Path | None
    max_bytes: int
    _before: int | None = field(default=None, init=False)

    async def exceeded(self) -> TooLarge:
        """Returns once the build has grown over its limit."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            fault = await asyncio.to_thread(self.look)
            if fault is not None:
                return fault
            pause = max(LOOK_S, (time.monotonic() - began) / LOOK_SHARE)

    def look(self) -> TooLarge | None:
        """What is to be said of the build's size now; None while it is within its limits."""
        used = files = 0
        for folder in self.own:
            found = footprint.measure(folder, max_files=MAX_FILES, names=("",))
            used, files = used + found.used, files + found.files
            if found.nested:
                return _over(f"{footprint.MAX_DEPTH} nested folders")
        if self.shared is not None:
            cached = footprint.measure(self.shared, max_files=ALL, names=("",)).used
            self._before = cached if self._before is None else self._before
            used += max(0, cached - self._before)
        if files > MAX_FILES:
            return _over(f"{MAX_FILES} files")
        return _over(f"{wording.limit(self.max_bytes)} on the disk") if used > self.max_bytes else None


def _over(limit: str) -> TooLarge:
    return TooLarge(f"the limit of {limit} was reached while the environment was being built")
