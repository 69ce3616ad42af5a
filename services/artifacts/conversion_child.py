"""Conversion of a dataset file in a child process (`shared/child_pool.py`), while the file arrives.

The service says how far the file has grown; the process says how far it has come.
"""

from __future__ import annotations

import math
import resource
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from services.artifacts.formats.conversion import Conversion, Wishes, Writing
from services.artifacts.formats.converter import convert
from services.artifacts.formats.refusal import refuse
from services.artifacts.formats.roles import Roles
from services.artifacts.formats.spool import GrowingFile, Spool
from shared import disk
from shared.errors import Invalid

if TYPE_CHECKING:
    from shared.child_template import Caller

FUNCTION = "services.artifacts.child_functions:convert_file"
"""What a child is asked for."""

TELL_EVERY_S = 0.05
"""How often the process says how far it has come, in seconds."""

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Growth:
    """What the service says: the file's size so far in bytes, and whether that is all."""

    size: int
    is_whole: bool


@dataclass(kw_only=True)
class News:
    """What the process says of itself."""

    rows: int = 0
    content_bytes: int = 0  # read so far, unpacked
    waited_s: float = 0.0  # for bytes
    processor_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much processor time a conversion may take, in seconds."""

    processor_s: float
    processor_s_a_megabyte: float  # of content

    def most_s(self, content_bytes: int) -> float:
        """Return the processor time that so much content may take."""
        return self.processor_s + self.processor_s_a_megabyte * content_bytes / _MEGABYTE

    def exceeded(self, content_bytes: int) -> Invalid:
        """Return the refusal of a file that takes more."""
        most_s = max(0.0, self.most_s(content_bytes))
        return refuse(
            f"reading it is too costly: it takes more than {most_s:.0f} s of processor time; use fewer columns"
        )


def question(path: Path, target: Path, wishes: Wishes, budget: Budget) -> bytes:
    """Return what the child is told: the file to read, the file to write, what is wished and what it may cost."""
    told = {
        "path": str(path),
        "target": str(target),
        "roles": asdict(wishes.roles),
        "habit": asdict(wishes.habit),
        "writing": asdict(wishes.writing),
        "max_decompressed_bytes": wishes.max_decompressed_bytes,
        "max_columns": wishes.max_columns,
        "budget": asdict(budget),
    }
    return orjson.dumps(told)


def conversion_of(answer: bytes, spool: Spool) -> Conversion:
    """Return the conversion that a child answered with, and note of which file it is."""
    conversion = Conversion.of_json(orjson.loads(answer))
    return replace(conversion, source={**conversion.source, "sizeBytes": spool.size, "sha256": spool.sha256})


def convert_file(argument: bytes, caller: Caller) -> bytes:
    """Convert a file while it grows: the answer to `question`. Raises what `converter.convert` raises, Unavailable
    where the disk is full, and Invalid where it takes too much processor time."""
    asked: dict[str, Any] = orjson.loads(argument)
    file = GrowingFile(Path(asked["path"]))
    threading.Thread(target=_follow, args=(file, caller), daemon=True).start()
    teller = _Teller(caller, Budget(**asked["budget"]))
    wishes = Wishes(
        roles=Roles(**asked["roles"]),
        habit=Roles(**asked["habit"]),
        writing=Writing(**asked["writing"]),
        max_decompressed_bytes=asked["max_decompressed_bytes"],
        max_columns=asked["max_columns"],
        converted=teller.converted,
        waiting=teller.waiting,
        passing=teller.passing,
        working=teller.working,
    )
    with disk.with_room():
        conversion = convert(file, Path(asked["target"]), wishes)
    return orjson.dumps(asdict(conversion))


def _follow(file: GrowingFile, caller: Caller) -> None:
    for line in caller.said():
        growth = Growth(**orjson.loads(line))
        file.grow(growth.size)
        if growth.is_whole:
            file.end()


class _Teller:
    """Tells the service how far the conversion has come; called by its thread and by pyarrow's reader."""

    def __init__(self, caller: Caller, budget: Budget) -> None:
        self._caller, self._budget = caller, budget
        self._news = News()
        self._lock = threading.Lock()
        self._told_at, self._limit_s = -TELL_EVERY_S, 0

    def converted(self, rows: int) -> None:
        """So many rows are converted."""
        self._news.rows = rows
        self._tell()

    def waiting(self, seconds: float) -> None:
        """A reader has waited for bytes."""
        self._news.waited_s += seconds
        self._tell()

    def passing(self, size: int) -> None:
        """So much content has been read."""
        self._news.content_bytes = max(self._news.content_bytes, size)
        self._raise_limit()
        self._tell()

    def working(self) -> None:
        """Called again and again. Raises Invalid where it has taken too much processor time."""
        if time.process_time() > self._budget.most_s(self._news.content_bytes):
            raise self._budget.exceeded(self._news.content_bytes)
        self._tell()

    def _raise_limit(self) -> None:
        """Have the operating system end this process where the budget is over within a step that never comes back."""
        wanted = max(1, math.ceil(self._budget.most_s(self._news.content_bytes)) + 1)
        if wanted > self._limit_s:
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            self._limit_s = wanted
            resource.setrlimit(resource.RLIMIT_CPU, (min(wanted, hard), hard))

    def _tell(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._told_at >= TELL_EVERY_S:
                self._told_at = now
                self._news.processor_s = time.process_time()
                self._caller.tell(orjson.dumps(asdict(self._news)))
