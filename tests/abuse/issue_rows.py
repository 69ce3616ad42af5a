"""Inputs that once stopped a service for everybody, as they were measured; the generators hold their kin."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.abuse.attacker import Attacker, Input, grouped

READS = 6
"""So often a reader asks for the same costly thing at the same time."""


async def _differences(attacker: Attacker) -> None:
    """Two versions of 20 cells, compared eight times by a viewer."""
    lines = [{"cellType": "code", "content": "a\n" * 3_990} for _ in range(20)]
    changed = [{"cellType": "code", "content": "a\n" * 2_000 + "b\n" + "a\n" * 1_990} for _ in range(20)]
    _, notebook = await attacker.send("editor", "POST", "notebook", {"notebookName": "a", "initialCells": lines})
    path = f"notebook/{notebook['notebookId']}"
    await attacker.send("editor", "PUT", path, {"cells": changed})
    await asyncio.gather(*(attacker.viewer.get(f"{path}/versions/1.0.0/diff/1.1.0") for _ in range(8)))


async def _large_reads(attacker: Attacker) -> None:
    cells = [{"cellType": "code", "content": "x" * 1_900_000} for _ in range(16)]
    _, notebook = await attacker.send("editor", "POST", "notebook", {"notebookName": "a", "initialCells": cells})
    if isinstance(notebook, dict) and "notebookId" in notebook:
        await asyncio.gather(*(attacker.viewer.get(f"notebook/{notebook['notebookId']}") for _ in range(READS)))


async def _many_values(attacker: Attacker) -> None:
    notebook = await attacker.editor.create("1")
    body = b'{"parameters":{"a":[%s{}]}}' % (b"{}," * 9_900_000)
    path = f"notebook/{notebook['notebookId']}/execute"
    await asyncio.gather(*(attacker.send("runner", "POST", path, body) for _ in range(2)))


async def _short_numbers(attacker: Attacker) -> None:
    cells: list[dict[str, Any]] = [{"cellType": "code", "content": f"x <- {'1' * 20_000}!", "tags": ["parameters"]}]
    for kernel in ("r", "scala", "python3"):
        body = {"notebookName": "a", "kernelType": kernel, "initialCells": cells}
        await attacker.send("editor", "POST", "notebook", body)


async def _unknown_members(attacker: Attacker) -> None:
    body = b"{%s}" % b",".join(b'"unknown%d":{}' % number for number in range(200_000))
    for role, path in (("editor", "notebook"), ("editor", "templates")):
        await attacker.send(role, "POST", path, body)


INPUTS = grouped(
    "issue",
    [
        Input("eight comparisons of equal lines", _differences),
        Input("six reads of a large notebook", _large_reads),
        Input("two bodies of ten million values", _many_values),
        Input("a number and no number, each kernel", _short_numbers),
        Input("200,000 unknown members", _unknown_members),
    ],
)
