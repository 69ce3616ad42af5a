"""Every file of the corpus through HTTP: uploaded, exported and uploaded again, or refused with its place."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import aiohttp
import orjson
import pytest

from deploy.local import Stack
from tests.support.api import Api
from tests.unit.catalog.corpus import CORPUS, Case

AT_ONCE = 6
"""Files on their way at the same time."""


@pytest.fixture
async def reader(stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A tenant of its own: lists of others stay short."""
    return await Api.of(stack, http)


async def upload(api: Api, file_name: str, file: bytes) -> tuple[int, Any]:
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(file), filename=file_name)
    status, body, _ = await api.post("notebook/upload", data=form)
    return status, body


async def export(api: Api, notebook: dict[str, Any]) -> bytes:
    status, body, _ = await api.get(f"notebook/{notebook['notebookId']}/export")
    assert status == 200, body
    return body if isinstance(body, bytes) else orjson.dumps(body)


async def through(api: Api, case: Case) -> None:
    status, first = await upload(api, case.file_name, case.file.encode())
    if case.refused_at is not None:
        # The gateway refuses deep nesting before it reads what is nested.
        place = "file" if case.name == "too deep metadata" else case.refused_at
        assert (status, first["errors"][0]["path"]) == (400, place), case.name
        return
    assert status == 201, (case.name, first)
    assert first["kernelType"] == case.kernel, case.name
    said = first["parsing"]["warnings"]
    assert len(said) == len(case.warnings), (case.name, said)
    assert all(any(part in warning for warning in said) for part in case.warnings), (case.name, said)
    exported = await export(api, first)
    status, again = await upload(api, "again.ipynb", exported)
    assert (status, again["parsing"]["warnings"]) == (201, []), case.name
    assert as_json(await export(api, again)) == as_json(exported), case.name


def as_json(file: bytes) -> bytes:
    return orjson.dumps(orjson.loads(file), option=orjson.OPT_SORT_KEYS)


@pytest.mark.slow(reason="a hundred files, each uploaded, exported and uploaded again")
async def test_the_corpus_through_http(reader: Api) -> None:
    waiting = iter(CORPUS)

    async def lane() -> None:
        for case in waiting:
            await through(reader, case)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(lane())
