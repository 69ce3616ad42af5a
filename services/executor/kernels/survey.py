"""What isolation this machine allows, found out by a fork server that makes no kernel."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from services.executor.kernels.fork_link import ForkLink, ForkServerGone
from services.executor.kernels.isolation import ORDER, Isolation


async def survey(python: Path) -> dict[str, Any]:
    """The highest level that would hold with this interpreter, and what the next one misses."""
    with tempfile.TemporaryDirectory(prefix="atelier-") as folder:
        canary = await asyncio.to_thread(_lay_out, Path(folder))
        link = ForkLink(python, {"imports": [], "scratch": folder, "canary": str(canary), "uids": (200_000, 65_536)})
        try:
            found = Isolation.of(await link.start())
        except ForkServerGone as error:
            return {"level": "none", "missing": [str(error)]}
        finally:
            await link.close()
    above = ORDER[min(ORDER.index(found.level) + 1, len(ORDER) - 1)]
    return {"level": found.level, "missing": [] if found.level == above else found.missing(above)}


def _lay_out(scratch: Path) -> Path:
    """The folder of a server, and in it a file that kernels must not see."""
    scratch.chmod(0o755)
    canary = scratch / "canary"
    canary.write_text("kernels must not see this\n", encoding="ascii")
    canary.chmod(0o644)
    return canary
