"""Files that are no notebooks: each is refused in clear words, and nothing of it is stored."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from minio import Minio

from deploy.local import Stack
from tests.support.api import Api


def notebook(**members: Any) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [], **members}).encode()


def code_cell(source: Any) -> dict[str, Any]:
    return {"id": "a", "cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}


class Streamed(io.RawIOBase):
    """A file of so many bytes that is made while it is read."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._left)
        buffer[:count] = b" " * count
        self._left -= count
        return count


FILES: dict[str, tuple[Callable[[], Any], int]] = {
    "not JSON": (lambda: b"<html>no notebook</html>", 400),
    "JSON but no notebook": (lambda: b'{"hello": "world"}', 400),
    "nbformat 2": (lambda: b'{"nbformat": 2, "worksheets": [], "metadata": {}}', 400),
    "nbformat 99": (lambda: notebook(nbformat=99), 400),
    "200 MB": (lambda: Streamed(200_000_000), 413),
    "100,000 levels deep": (lambda: b"[" * 100_000 + b"]" * 100_000, 400),
    "bad UTF-8": (lambda: notebook(cells=[code_cell("caf\xe9")]).replace(b"\\u00e9", b"\xe9"), 400),
    "cells not a list": (lambda: notebook(cells={"a": 1}), 400),
    "a 100 MB cell": (lambda: notebook(cells=[code_cell("x" * 100_000_000)]), 413),
    "gzip bomb": (lambda: gzip.compress(b"\0" * 200_000_000), 400),
    "wrong types": (lambda: notebook(cells=[code_cell(5)]), 400),
    "empty": (lambda: b"", 400),
    "truncated": (lambda: notebook(cells=[code_cell("print(1)")])[:-20], 400),
}


@pytest.fixture
async def stranger(stack: Stack, http: aiohttp.ClientSession) -> Api:
    """A tenant that has nothing."""
    return await Api.of(stack, http)


async def assert_nothing_stored(stack: Stack, api: Api) -> None:
    status, page, _ = await api.get("notebooks")
    assert (status, page["totalCount"]) == (200, 0)
    connection = await asyncpg.connect(stack.postgres_dsn)
    try:
        rows = await connection.fetchval("SELECT count(*) FROM catalog.notebook WHERE tenant_id = $1::uuid", api.tenant)
    finally:
        await connection.close()
    assert rows == 0
    access = stack.s3
    host = access.endpoint.partition("://")[2]
    client = Minio(host, access_key=access.access_key, secret_key=access.secret_key, secure=False, region=access.region)
    assert list(client.list_objects(access.bucket, prefix=api.tenant, recursive=True)) == []


@pytest.mark.parametrize("kind", list(FILES))
async def test_a_malformed_file_is_refused_and_leaves_nothing(stack: Stack, stranger: Api, kind: str) -> None:
    make, expected = FILES[kind]
    form = aiohttp.FormData()
    form.add_field("notebookName", "malformed")
    made = make()
    file = io.BytesIO(made) if isinstance(made, bytes) else made
    form.add_field("file", file, filename="bad.ipynb", content_type="application/json")
    try:
        status, problem, headers = await stranger.post("notebook/upload", data=form)
    except aiohttp.ClientOSError:
        # The server may refuse and close before the whole body is sent; then a retry says why only to small senders.
        assert expected == 413
        status = 413
    else:
        assert headers["Content-Type"].startswith("application/problem+json")
        assert len(problem["detail"]) > 10
        assert problem["error"] == problem["detail"]
    assert status == expected, problem
    await assert_nothing_stored(stack, stranger)


async def test_wrong_field_names_are_all_named(stack: Stack, stranger: Api) -> None:
    form = aiohttp.FormData()
    form.add_field("name", "wrong field")
    form.add_field("notebook", notebook(), filename="good.ipynb")
    status, problem, _ = await stranger.post("notebook/upload", data=form)
    assert status == 400
    assert {"name", "notebook", "file"} <= {fault["path"] for fault in problem["errors"]}
    await assert_nothing_stored(stack, stranger)


async def test_a_compressed_request_body_is_refused_or_bounded(stack: Stack, stranger: Api) -> None:
    status, problem, _ = await stranger.post(
        "notebook",
        data=gzip.compress(b" " * 200_000_000),
        headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
    )
    assert status in (400, 413, 415), problem
    await assert_nothing_stored(stack, stranger)


async def test_a_good_file_of_every_supported_kind_is_taken(stranger: Api) -> None:
    good = notebook(cells=[code_cell("print(1)")])
    cell = {"cell_type": "code", "input": "1", "language": "python", "outputs": [], "collapsed": False, "metadata": {}}
    sheets = [{"cells": [cell], "metadata": {}}]
    old = json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": sheets}).encode()
    script = b"# %% [markdown]\n# # Title\n# %%\nprint(1)\n"
    for name, content in (("a.ipynb", good), ("old.ipynb", old), ("script.py", script)):
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name)
        form.add_field("datasetBinding", "")
        form.add_field("enrichmentMode", "True")
        form.add_field("notebookName", f"from {name}")
        status, created, _ = await stranger.post("notebook/upload", data=form)
        assert status == 201, created
        assert created["parsing"]["codeCells"] == 1
        assert created["integration"]["enrichmentMode"] is True
