"""Operations in nbdime's format that lead from one notebook to another, in few, large steps: for any two notebooks."""

from __future__ import annotations

from typing import Any

import orjson

from services.catalog.document import Json

Operations = list[dict[str, Any]]


def plain(a: Json, b: Json) -> Operations:
    """Replace each member that differs, and the stretch of cells that differ."""
    found: Operations = []
    for key in sorted({*a, *b}):
        if key not in b:
            found.append({"op": "remove", "key": key})
        elif key not in a:
            found.append({"op": "add", "key": key, "value": b[key]})
        elif _text(a[key]) != _text(b[key]):
            if key == "cells":
                found.append({"op": "patch", "key": key, "diff": _stretch(a[key], b[key])})
            else:
                found.append({"op": "replace", "key": key, "value": b[key]})
    return found


def _stretch(a: list[Json], b: list[Json]) -> Operations:
    """Replace what lies between the cells that both begin with and those that both end with."""
    old, new = [_text(cell) for cell in a], [_text(cell) for cell in b]
    shortest = min(len(old), len(new))
    start = next((n for n in range(shortest) if old[n] != new[n]), shortest)
    end = next((n for n in range(shortest - start) if old[-1 - n] != new[-1 - n]), shortest - start)
    found: Operations = []
    if len(new) - end > start:
        found.append({"op": "addrange", "key": start, "valuelist": b[start : len(b) - end]})
    if len(old) - end > start:
        found.append({"op": "removerange", "key": start, "length": len(old) - end - start})
    return found


def _text(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
