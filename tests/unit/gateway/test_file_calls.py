"""The calls about files beside a notebook: what is asked of whom, in which order, and what is refused before that."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway import examples
from services.gateway.routes import files as routes
from shared.contracts.base import Nothing
from shared.contracts.files import (
    CheckFiles,
    FileUploadTicket,
    NotebookFiles,
    OpenFileUpload,
    PutFiles,
)
from shared.contracts.notebooks import CheckNotebook, FileReference, NotebookState
from shared.errors import Conflict, NotFound, Unavailable
from tests.unit.gateway.fake_ports import NOTEBOOK, Api

ADDRESS = f"notebook/{NOTEBOOK.notebook_id}/files"
ANSWER = NotebookFiles.model_validate(examples.PUT_FILES)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def sent(api: Api, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What goes to artifacts; it has nothing yet. Catalog agrees with everything."""
    received: dict[str, bytes] = {}

    async def send(_where: FileUploadTicket, sha256: str, size: int, pieces: AsyncIterator[bytes]) -> None:
        received[sha256] = b"".join([piece async for piece in pieces])
        assert len(received[sha256]) == size

    def opened(command: OpenFileUpload) -> FileUploadTicket:
        return FileUploadTicket(url="u", ticket="t", missing=[one.sha256 for one in command.contents])

    monkeypatch.setattr(api.transfers, "send_content", send)
    api.requests.on(CheckFiles, Nothing())
    api.requests.on(CheckNotebook, NotebookState())
    api.requests.on(OpenFileUpload, opened)
    api.requests.on(PutFiles, ANSWER)
    return received


def form(files: dict[str, bytes]) -> tuple[io.BytesIO, dict[str, str]]:
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="f"; filename="{path}"\r\n\r\n'.encode() + data + b"\r\n"
        for path, data in files.items()
    )
    return io.BytesIO(body + b"--b--\r\n"), {"Content-Type": "multipart/form-data; boundary=b"}


async def test_bytes_go_to_artifacts_before_catalog_hears_of_them(api: Api, sent: dict[str, bytes]) -> None:
    answer = await api.call("PUT", f"{ADDRESS}/data/a.csv", data=b"1,2", headers={"If-Match": '"e"'})
    assert answer.status == 200
    assert answer.headers["ETag"] == f'"{ANSWER.etag}"'
    assert sent == {sha(b"1,2"): b"1,2"}
    assert [type(asked) for asked in api.requests.asked] == [CheckFiles, CheckFiles, OpenFileUpload, PutFiles]
    put: PutFiles = api.requests.last(PutFiles)
    assert put.files == [FileReference(path="data/a.csv", size_bytes=3, sha256=sha(b"1,2"))]
    assert (put.replace, put.precondition.etag, put.idempotency) == (False, "e", None)


async def test_equal_contents_are_sent_once(api: Api, sent: dict[str, bytes]) -> None:
    data, headers = form({"a": b"1", "b": b"1", "c/d": b""})
    assert (await api.call("PUT", f"{ADDRESS}?replace=true", data=data, headers=headers)).status == 200
    assert sent == {sha(b"1"): b"1", sha(b""): b""}
    put: PutFiles = api.requests.last(PutFiles)
    assert ([file.path for file in put.files], put.replace) == (["a", "b", "c/d"], True)


async def test_with_a_key_the_state_is_checked_by_the_write_alone(api: Api, sent: dict[str, bytes]) -> None:
    headers = {"Idempotency-Key": "k", "If-Match": "e"}
    for body in (b"1", b"1", b"2"):
        assert (await api.call("PUT", f"{ADDRESS}/a", data=body, headers=headers)).status == 200
    assert CheckFiles not in {type(asked) for asked in api.requests.asked}
    keys = [asked.idempotency for asked in api.requests.asked if isinstance(asked, PutFiles)]
    assert keys[0] == keys[1] != keys[2]
    assert all(key is not None and key.key == "k" for key in keys)
    assert sent


async def test_nothing_is_read_or_stored_for_what_is_refused_first(api: Api, sent: dict[str, bytes]) -> None:
    for error, status in ((NotFound("no"), 404), (Conflict("stale"), 409), (Unavailable("away"), 503)):
        api.requests.on(CheckFiles, error)
        assert (await api.call("PUT", f"{ADDRESS}/a", data=b"1")).status == status
    api.requests.on(CheckFiles, Nothing())
    for path in ("..%2Fa", "a%5Cb", ".atelier/a"):
        answer = await api.call("PUT", f"{ADDRESS}/{path}", data=b"1")
        assert (answer.status, list(answer.faults)) == (400, ["path"])
    assert (await api.call("PUT", f"{ADDRESS}/a", data=b"1", headers={"Content-Encoding": "gzip"})).status == 415
    assert (await api.call("PUT", ADDRESS, data=b"1", headers={"Content-Type": "text/plain"})).status == 415
    assert not sent
    assert PutFiles not in {type(asked) for asked in api.requests.asked}


async def test_every_bad_name_of_a_form_is_told_and_its_bytes_are_bounded(
    api: Api, sent: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, headers = form({"good": b"1", "../up": b"2", "a\\\\b": b"3", ".DS_Store": b"4"})
    answer = await api.call("PUT", ADDRESS, data=data, headers=headers)
    assert (answer.status, len(answer.faults)) == (400, 2)
    monkeypatch.setattr(routes, "MAX_FILES_BYTES", 1_000)
    data, headers = form({"../up": bytes(2_000)})
    assert (await api.call("PUT", ADDRESS, data=data, headers=headers)).status == 413
    assert not sent


async def test_a_form_of_something_else(api: Api, sent: dict[str, bytes]) -> None:
    bodies: list[tuple[bytes, str]] = [
        (b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n1\r\n--b--\r\n', "filename"),
        (b"no form", "cannot be read"),
        (b"--b--\r\n", "no file"),
    ]
    for body, reason in bodies:
        sending: dict[str, Any] = {"data": body, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
        answer = await api.call("PUT", ADDRESS, **sending)
        assert answer.status == 400
        assert reason in answer.json["detail"]
    assert not sent
