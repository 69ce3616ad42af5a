"""Notebooks that are made to cost the catalog: their owner is answered or told why not, others are served meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from deploy.local import Stack
from tests.support.api import Api

LARGE = [{"cellType": "code", "content": "x" * 1_900_000} for _ in range(10)]


@pytest.mark.timeout(280)
async def test_costly_notebooks_do_not_stop_the_catalog(stack: Stack, http: Any) -> None:
    api, other = await Api.of(stack, http), await Api.of(stack, http)
    numbers = {"cellType": "code", "content": f"x <- {'1' * 20_000}!", "tags": ["parameters"]}
    assert (await api.create(kernelType="r", initialCells=[numbers]))["parameters"]["properties"] == {"x": {}}

    form = aiohttp.FormData()
    form.add_field("notebookName", "marker")
    form.add_field("file", b"# %% " + b"a" * 40_000 + b"\n1\n", filename="a.py")
    assert (await api.post("notebook/upload", data=form))[0] in (201, 400)

    lines = [{"cellType": "code", "content": "a\n" * 3_990} for _ in range(20)]
    changed = [{"cellType": "code", "content": "a\n" * 2_000 + "b\n" + "a\n" * 1_990} for _ in range(20)]
    notebook = await api.create(initialCells=lines)
    path = f"notebook/{notebook['notebookId']}"
    assert (await api.put(path, json={"cells": changed}))[0] == 200
    diffs = [asyncio.create_task(api.get(f"{path}/versions/1.0.0/diff/1.1.0")) for _ in range(8)]
    created = await other.create("1 + 1")
    assert created["notebookVersion"] == "1.0.0"
    statuses = {status for status, _, _ in await asyncio.gather(*diffs)}
    assert 200 in statuses
    assert statuses <= {200, 503}

    large = await api.create(initialCells=LARGE)
    reads = [asyncio.create_task(api.get(f"notebook/{large['notebookId']}")) for _ in range(6)]
    assert (await other.get(f"notebook/{created['notebookId']}"))[0] == 200
    answers = await asyncio.gather(*reads)
    assert {status for status, _, _ in answers} <= {200, 503}
    assert any(status == 200 and len(body["cells"]) == len(LARGE) for status, body, _ in answers)
    assert all("Retry-After" in headers for status, _, headers in answers if status == 503)
