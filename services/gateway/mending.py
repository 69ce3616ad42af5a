"""The rest of a faulty body: without the members that are wrong, so that a service can name what else is."""

from __future__ import annotations

from typing import Any

import structlog
from pydantic import BaseModel

from services.gateway import decoding
from shared.errors import Fault

log = structlog.get_logger(__name__)

ROUNDS = 3
"""How often faulty members are taken out: without one, another may be missing."""

STAND_INS = {"notebookName": "a notebook", "cellType": "code"}
"""In place of a required member that is missing or wrong; nothing else depends on these."""


def mended(model: type[BaseModel], data: Any, *, nulls_are_absent: bool = True, strict: bool = False) -> Any:
    """`data` as far as it is a `model`; None when nothing is left that could be one."""
    if not isinstance(data, dict):
        return None
    rest = decoding.without_nulls(data, model) if nulls_are_absent else dict(data)
    copied: dict[int, Any] = {id(rest): rest}
    for _ in range(ROUNDS):
        wrong = decoding.places_of_faults(model, rest, strict=strict)
        if not wrong:
            return rest
        for place in wrong:
            _take_out(rest, place, copied)
    log.info("a faulty body without a rest", model=model.__name__)
    return None


def beside(known: list[Fault], more: list[Fault]) -> list[Fault]:
    """Those of `more` that are about other members than the faults that are `known`."""
    taken = {fault.path for fault in known}
    return [fault for fault in more if not any(path in taken for path in _with_outer(fault.path))]


def _with_outer(path: str) -> list[str]:
    """`path`, and the paths of everything that it lies in: `cells[2].tags`, `cells[2]`, `cells`."""
    return [path, *(path[:end] for end, letter in enumerate(path) if letter in ".[" and end)]


def _take_out(data: dict[str, Any], place: tuple[int | str, ...], copied: dict[int, Any]) -> None:
    """Remove the member at `place`. Containers on the way are copied first, unless they are among the `copied` (by id):
    the request's own data stay as they are."""
    *way, name = place or ("",)
    inner: Any = data
    for step in way:
        inside = isinstance(inner, dict) and step in inner
        inside = inside or (isinstance(inner, list) and isinstance(step, int) and step < len(inner))
        if not inside:
            inner = None
            break
        outer, inner = inner, inner[step]
        if isinstance(inner, dict | list) and id(inner) not in copied:
            outer[step] = inner = inner.copy()
            copied[id(inner)] = inner
    if isinstance(inner, dict) and name in STAND_INS:
        inner[name] = STAND_INS[str(name)]
    elif isinstance(inner, dict) and name in inner:
        del inner[name]
    elif place:  # an item of an array: the items after it must keep their numbers
        data.pop(str(place[0]), None)
