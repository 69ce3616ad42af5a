"""Shows the logs of a stack's components side by side, and follows them."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from deploy.local.component import last_lines
from deploy.local.folder import StackFolder

LOOK_EVERY_SECONDS = 0.2


@dataclass
class _Tail:
    path: Path
    offset: int
    rest: bytes = b""  # the beginning of a line whose end has not been written yet

    def new_lines(self) -> list[str]:
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < self.offset:
            self.offset, self.rest = 0, b""  # the log was set aside, and begun anew
        if size == self.offset:
            return []
        with self.path.open("rb") as handle:
            handle.seek(self.offset)
            text = self.rest + handle.read(size - self.offset)
        self.offset = size
        *lines, self.rest = text.split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def show(folder: StackFolder, service: str, count: int, *, follow: bool) -> int:
    """Prints the last lines of each log, named at the left, and what is added until interrupted, if asked to.

    Returns the exit code: 1 when there is no such log.
    """
    logs = {path.stem: path for path in sorted((folder.path / "logs").glob("*.log")) if not path.stem.endswith(".old")}
    chosen = {name: path for name, path in logs.items() if service in {"", name}}
    if not chosen:
        known = ", ".join(logs) or "none yet; run 'make up'"
        print(f"error: no log {service!r}; there are: {known}" if service else f"logs: {known}", file=sys.stderr)
        return 1 if service else 0
    tails = {name: _Tail(path, path.stat().st_size) for name, path in chosen.items()}
    try:
        for name, path in chosen.items():
            for line in last_lines(path, count):
                print(f"{name:<10} | {line}", flush=True)
        while follow:
            for name, tail in tails.items():
                for line in tail.new_lines():
                    print(f"{name:<10} | {line}", flush=True)
            time.sleep(LOOK_EVERY_SECONDS)
    except KeyboardInterrupt:
        return 0
    return 0


def close_output() -> None:
    """Gives up standard output after its reader has gone; the interpreter would complain at its end otherwise."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
