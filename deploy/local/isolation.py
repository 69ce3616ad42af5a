"""How well the native stack's kernels can be isolated on this machine: asked once, so that nobody has to know."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.local import surroundings
from deploy.local.folder import ROOT

ASKING_SECONDS = 120.0
"""How long the answer may take: the interpreter starts and imports what kernels need."""


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """The highest level that holds here, and what the next one misses."""

    level: str
    missing: list[str]

    @property
    def warning(self) -> str | None:
        """For who starts the stack; None where there is nothing to warn of."""
        if self.level == "strong":
            return None
        means = {
            "none": "notebooks run as plain processes and can reach what this user can: run only your own",
            "confined": "notebooks are kept from files and TCP ports, but see other processes: for one tenant only",
        }[self.level]
        return (
            f"warning: kernels are isolated at level {self.level!r} only: {means}.\n"
            f"  missing here: {'; '.join(self.missing) or 'unknown'}\n"
            "  docs/operations.md, Isolation, tells what to give."
        )


@cache
def allowed(python: Path) -> Allowed:
    """What this machine allows kernels of `python`; `none`, with the reason, where that cannot be found out."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "services.executor", "isolation", str(python)],
            env=surroundings.inherited(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=ASKING_SECONDS,
            check=True,
        )
        told = json.loads(done.stdout)
        return Allowed(level=told["level"], missing=told["missing"])
    except subprocess.CalledProcessError as error:
        return Allowed(level="none", missing=[str(error.stderr).strip()[-300:]])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        return Allowed(level="none", missing=[str(error)])
