"""`python -m services.artifacts.profile_program FILE`: the profile of a stored table, in a process of its own.

A profile of thousands of columns is minutes of processor time, much of it with the interpreter's lock held: in a thread
of the service it would keep previews, uploads and downloads waiting. Reads the columns as JSON from its input, writes
the profile as JSON to its output, yields the processor to everybody else, and ends with the service that started it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import orjson

from shared import without_pandas

Columns = list[tuple[str, str]]
"""Name and type of each."""

NICENESS = 10
"""How far the process steps back behind others: nobody waits for a profile."""

TIMEOUT_S = 1_500.0
"""A profile that takes longer is given up, in seconds: before its claim runs out."""

ROOT = Path(__file__).resolve().parents[2]
"""Where `services` is imported from."""

_PR_SET_PDEATHSIG = 1


class ProfileFailed(Exception):
    """The process ended without a profile; the message says how."""


async def profile_apart(path: Path, columns: Columns) -> list[dict[str, Any]]:
    """The profile of a stored file, computed by another process; raises ProfileFailed. Ended when this is cancelled."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}  # no credential among them
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(path), env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer, errors = await child.communicate(orjson.dumps(columns))
    except TimeoutError:
        raise ProfileFailed(f"it took longer than {TIMEOUT_S:.0f} seconds") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise ProfileFailed(lines[-1][:500] if lines else f"the process ended with status {child.returncode}")
    found: list[dict[str, Any]] = orjson.loads(answer)
    return found


def main() -> None:
    """What the process does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICENESS)
    without_pandas.install()
    from services.artifacts.formats.profile import profile  # noqa: PLC0415 - the service does not need it

    columns: Columns = [(name, kind) for name, kind in orjson.loads(sys.stdin.buffer.read())]
    sys.stdout.buffer.write(orjson.dumps(profile(Path(sys.argv[1]), columns)))


if __name__ == "__main__":
    main()
