"""A full disk is a 503, and nothing is stored. `/dev/full` is a file on a disk without room."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.artifacts import versions
from services.artifacts.app import App
from services.artifacts.conversion_scheduler import Converters
from services.artifacts.transfer_server import TransferServer
from services.artifacts.workspace import Workspace
from shared import disk, replies, tickets
from shared.child_pool import ChildPool
from shared.contracts.base import Caller, Scope
from shared.contracts.transfers import DATASET_UPLOAD, DatasetUpload
from shared.errors import Unavailable

KEY = "k" * 16
TABLE = b"case,activity,time\n" + b"1,a,2024-01-01\n" * 200_000


class FullWorkspace(Workspace):
    """A workspace in which one of the files lies on a disk without room."""

    full: str

    @contextmanager
    def folder(self) -> Iterator[Path]:
        with super().folder() as path:
            (path / self.full).symlink_to("/dev/full")
            yield path


@pytest.fixture(params=["spool", "data.parquet"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TestClient[Any, Any]]:
    async def keep(*_: Any) -> None:
        pytest.fail("nothing may be stored")

    monkeypatch.setattr(versions, "keep", keep)
    workspace = FullWorkspace(tmp_path)
    workspace.full = request.param
    await workspace.open()
    settings = SimpleNamespace(
        dataset_max_bytes=1 << 30, max_decompressed_bytes=1 << 30, max_columns=10, upload_silence_s=60.0
    )
    children = ChildPool(["services.artifacts.child_functions"])
    converters = Converters(children)
    app = SimpleNamespace(settings=settings, workspace=workspace, converters=converters, internal_secret=KEY)
    server = TestServer(TransferServer(cast(App, app)).application())
    async with TestClient(server) as client:
        yield client
    assert list(tmp_path.glob("transfers/*/*/*")) == []
    await workspace.close()
    await children.close()


async def test_an_upload_to_a_full_disk_is_503_and_stores_nothing(client: TestClient[web.Request, Any]) -> None:
    upload = DatasetUpload(
        scope=Scope(tenant_id=uuid4(), project_id=uuid4()),
        caller=Caller(subject="anna"),
        upload_id=uuid4(),
        dataset_id=uuid4(),
        dataset_name="log",
        file_name="log.csv",
        purpose="create",
    )
    claims = upload.model_dump(mode="json", by_alias=True)
    ticket = tickets.sign(claims, key=KEY, purpose=DATASET_UPLOAD, life_s=60)
    path = f"/internal/datasets/{upload.dataset_id}"

    async def body() -> AsyncIterator[bytes]:
        yield TABLE

    answer = await client.put(path, data=body(), headers={"Authorization": f"Ticket {ticket}"})
    assert answer.status == 503
    with pytest.raises(Unavailable, match="no room") as refusal:
        replies.decode(await answer.read()).raise_error()
    assert refusal.value.extra["retryAfter"] == disk.RETRY_AFTER_S


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_unavailable(code: int) -> None:
    with pytest.raises(Unavailable), disk.with_room():
        raise OSError(code, os.strerror(code))


def test_other_failures_of_a_disk_are_not() -> None:
    with pytest.raises(OSError, match="failing"), disk.with_room():
        raise OSError(errno.EIO, "failing")
