"""The executed notebook of a run that goes on: written to the database when a reader asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from nbformat import NotebookNode
from nbformat.v4 import new_output

from services.executor.running.claim import Claim
from services.executor.store import queries
from shared.database import Database
from shared.errors import AtelierError
from shared.exact_numbers import INTEGERS

log = structlog.get_logger(__name__)

MAX_BYTES = 16_000_000
"""Outputs beyond this are left out of a draft, in bytes: writing more JSON would hold up the other runs' cells."""

LEFT_OUT = "[these outputs are left out while the run goes on: the notebook is too large]\n"


class Draft:
    """One per run. `catch_up` is called before each look at the notebook: outputs may still be gathered elsewhere."""

    def __init__(self, claim: Claim, database: Database, notebook: NotebookNode) -> None:
        self.catch_up: Callable[[], None] = lambda: None
        self._claim = claim
        self._database = database
        self._notebook = notebook
        self._errors_only = not claim.request.output_options.capture_outputs
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Somebody wants to see the notebook; returns at once."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                async with self._database.connection() as connection:
                    began = await connection.fetchval(queries.clock)
                    self.catch_up()
                    body = encoded(content_of(self._notebook, errors_only=self._errors_only))
                    await connection.execute(queries.put_draft, self._claim.id, self._claim.epoch, body, began)
            except AtelierError as error:
                log.warning("draft not written", reason=error.detail)


def content_of(notebook: NotebookNode, *, errors_only: bool, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The notebook as it stands, its outputs cut to `max_bytes`."""
    left = max_bytes
    cells = []
    for cell in notebook.cells:
        shown: dict[str, Any] = dict(cell)
        if cell.cell_type == "code":
            outputs = [out for out in cell.outputs if out.output_type == "error" or not errors_only]
            left -= sum(map(_size, outputs))
            shown["outputs"] = outputs if left >= 0 else [new_output("stream", name="stderr", text=LEFT_OUT)]
        cells.append(shown)
    return {**notebook, "cells": cells}


def encoded(content: dict[str, Any]) -> bytes:
    """A draft as JSON. Whole numbers of more than 64 bits are texts in it: its readers would round them."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return orjson.dumps(_with_large_integers_as_text(content))


def _with_large_integers_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_large_integers_as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_large_integers_as_text(item) for item in value]
    is_large = isinstance(value, int) and not isinstance(value, bool) and value not in INTEGERS
    return str(value) if is_large else value


def _size(output: Any) -> int:
    """Bytes of an output, near enough for a cap."""
    if isinstance(output, dict):
        return sum(map(_size, output.values()))
    if isinstance(output, list):
        return sum(map(_size, output))
    return len(output) if isinstance(output, str) else 8
