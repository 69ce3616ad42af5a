"""What children do in the tests of the pool."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import orjson

from shared.child_template import Caller
from shared.errors import Fault, Invalid


def echo(argument: bytes) -> bytes:
    return argument


def spin(_: bytes) -> bytes:
    while True:
        pass


def spin_and_talk(_: bytes, caller: Caller) -> bytes:
    caller.tell(b"{}")
    return spin(b"")


def sleep(_: bytes) -> bytes:
    signal.pause()
    return b""


def eat(_: bytes) -> bytes:
    return bytes(4_000_000_000)


def flood(argument: bytes) -> bytes:
    return bytes(int(argument))


def refuse(argument: bytes) -> bytes:
    raise Invalid("No.", faults=[Fault(path=argument.decode(), message="is wrong")])


def fail(_: bytes) -> bytes:
    raise KeyError("an unexpected one")


def die(_: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGTERM)
    return b""


def look(_: bytes) -> bytes:
    """What the process can see of the service."""
    return orjson.dumps(
        {
            "environment": sorted(os.environ),
            "descriptors": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir()),
            "nice": os.nice(0),
            "oom": int(Path("/proc/self/oom_score_adj").read_text()),
            "pid": os.getpid(),
            "threads": len(list(Path("/proc/self/task").iterdir())),
        }
    )
