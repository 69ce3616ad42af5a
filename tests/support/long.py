"""What `make test` leaves to `make test-long`: cases that go through the same mechanism again, and higher counts.

Cases carry the mark `long`; `make test` deselects them. Counts are told apart by `ATELIER_LONG=1`, which `make
test-long` sets; a variable of its own sets one count alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TypeVar, cast

import pytest
from _pytest.mark import ParameterSet

T = TypeVar("T")

LONG = os.environ.get("ATELIER_LONG") == "1"
"""Whether everything is to run as often as it can."""


def count(variable: str, *, usual: int, long: int) -> int:
    """How often: as an environment variable says, else by whether this is the long run."""
    return int(os.environ.get(variable) or (long if LONG else usual))


def others_are_long(values: Iterable[T], usual: Collection[T], *, several: bool = False) -> list[ParameterSet]:
    """Parameters of a test, of which `make test` takes the usual ones; `several` when each is a tuple of arguments.
    Fails for a usual one that is no value."""
    every = list(values)
    missing = [value for value in usual if value not in every]
    assert not missing, missing
    found = []
    for value in every:
        arguments = cast("tuple[object, ...]", value) if several else (value,)
        found.append(pytest.param(*arguments, marks=[] if value in usual else [pytest.mark.long]))
    return found
