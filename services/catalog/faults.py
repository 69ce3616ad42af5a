"""What is wrong with a client's data, in the client's words: paths in camelCase, a sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from shared.errors import MOST_FAULTS, Fault, Invalid


def path_of(parts: Iterable[str | int], prefix: str = "") -> str:
    """`("cells", 2, "cellType")` as `cells[2].cellType`."""
    path = prefix
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def of_validation(error: ValidationError, prefix: str = "") -> list[Fault]:
    """The faults that pydantic found, below `prefix`."""
    return [
        Fault(path=path_of(problem["loc"], prefix), message=_message(problem))
        for problem in error.errors(include_url=False)
    ]


def unknown_members(given: Iterable[str], known: Iterable[str], prefix: str = "") -> list[Fault]:
    """A fault for each name that the call does not take: typos must not pass silently."""
    return [
        Fault(path=path_of([name], prefix), message="is not a member of this object")
        for name in given
        if name not in known
    ]


def refuse(faults: Sequence[Fault], what: str) -> None:
    """Raise Invalid when there are faults; `what` begins its sentence (`The notebook`)."""
    if faults:
        raise refusal(faults, what)


def refusal(faults: Sequence[Fault], what: str) -> Invalid:
    """The error that names the faults, of which there is at least one."""
    count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
    first = faults[0]
    return Invalid(
        f"{what} has {count}: {first.path}: {first.message}" + (", and more." if len(faults) > 1 else "."),
        faults=list(faults[:MOST_FAULTS]),
    )


def _message(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "is not a member of this object"
    if problem["type"] == "missing":
        return "is required"
    return str(problem["msg"]).removeprefix("Value error, ")
