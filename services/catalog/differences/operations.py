"""nbdime's operations that lead from one notebook to another, computed in a process of its own.

nbdime matches cells by trial, which takes the square of their number and holds the interpreter: a large pair would
stand in the way of every other request. So it works in a child that is ended when it takes too long. Then, and where
nbdime's diff is not exact, the answer is plainer, in the same format: the stretch of cells that differ is replaced.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

import orjson
import structlog

from services.catalog.document import Json

log = structlog.get_logger(__name__)

PATIENCE_S = 3.0
"""How long nbdime may take, its start included, in seconds: a read is answered within five."""

Operations = list[dict[str, Any]]


class Differ:
    """The child, started by the first request and kept; one request at a time."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._child: Process | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Nothing: most processes are never asked for a diff."""

    async def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()

    async def diff(self, a: Json, b: Json) -> Operations:
        """Operations that make `b` of `a`; none when they are equal."""
        request = await asyncio.to_thread(orjson.dumps, {"a": a, "b": b})
        try:
            async with asyncio.timeout(self._patience_s), self._turn:
                found = await self._ask(request)
        except TimeoutError:
            log.info("nbdime took too long; a plain diff instead", bytes=len(request))
            found = None
        return await asyncio.to_thread(plain, a, b) if found is None else found

    async def _ask(self, request: bytes) -> Operations | None:
        """What nbdime says; None where it has no exact answer."""
        whole = False
        try:
            child = await self._started()
            assert child.stdin is not None  # noqa: S101 - both are pipes
            assert child.stdout is not None  # noqa: S101
            child.stdin.write(len(request).to_bytes(4) + request)
            await child.stdin.drain()
            size = int.from_bytes(await child.stdout.readexactly(4))
            answer: Operations | None = orjson.loads(await child.stdout.readexactly(size))
            whole = True
        except (OSError, asyncio.IncompleteReadError) as error:
            log.warning("the process of nbdime went away", reason=type(error).__name__)
            return None
        finally:
            if not whole:  # a child with half a request or answer in its pipes is of no use any more
                await self.close()
        return answer

    async def _started(self) -> Process:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.catalog.differences.child", stdin=PIPE, stdout=PIPE
            )
        return self._child


def plain(a: Json, b: Json) -> Operations:
    """The same in few, large operations, for any two notebooks."""
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
