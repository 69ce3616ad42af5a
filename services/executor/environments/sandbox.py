"""The sandbox of builds: which command line runs a program there, and with what around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from services.executor.kernels.forkserver import launcher
from services.executor.kernels.forkserver.confinement import Limits
from services.executor.kernels.isolation import Level

CHECKOUT = Path(__file__).resolve().parents[3]
"""Where the package `services` lies; builds do not see it."""

BUILD_UID = 199_999
"""The user of builds: nobody's on most machines, and none of the kernels'."""

WEB_PORTS = (80, 443)
"""Where package indexes and what they lead to listen, beside the ports that their addresses name."""


@dataclass(frozen=True, kw_only=True)
class BuildSandbox:
    """What the operator decides about it. `without` switches `namespaces` off, for tests."""

    minimum: Level
    limits: Limits
    ports: Sequence[int] = WEB_PORTS
    readable: Sequence[Path] = ()
    disk_bytes: int | None = None
    """What the files of one build may take."""
    uid: int = BUILD_UID
    """The user that builds run as where the worker is root and there are namespaces; elsewhere it is the worker's."""
    without: Sequence[str] = field(default_factory=tuple)

    def command(
        self, command: Sequence[str], *, stage: Path, readable: Sequence[Path], writable: Sequence[Path], online: bool
    ) -> list[str]:
        """The command line that runs `command` inside. It may read the system and `readable`, write `writable`; `stage`
        is an empty folder of its own; only `online` has it a network. There is no secret in it: others on the machine
        can read it."""
        configuration = {
            "stage": str(stage),
            "readable": [str(path) for path in (command[0], *self.readable, *readable)],
            "writable": [str(path) for path in writable],
            "ports": list(self.ports) if online else [],
            "online": online,
            "limits": asdict(self.limits),
            "minimum": self.minimum,
            "uid": self.uid,
            "without": list(self.without),
        }
        return [*launcher.program(CHECKOUT), json.dumps(configuration), *command]
