"""A dataset's file reaches artifacts whole, whatever the order of the parts, and never twice."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from services.gateway import dataset_upload
from shared.contracts.datasets import OpenDatasetUpload, UploadTicket
from shared.errors import Invalid, OutcomeUnknown, Unavailable
from tests.unit.gateway.fake_ports import Api

CSV = b"case,activity,time\n" + b"1,a,2024-01-01\n" * 100_000
TICKET = UploadTicket(url="/internal/datasets/x", ticket="t")

Part = tuple[str, bytes]


async def upload(api: Api, *parts: Part, headers: dict[str, str] | None = None) -> int:
    api.requests.on(OpenDatasetUpload, lambda command: TICKET.model_copy(update={"ticket": command.dataset_name}))
    body = b""
    for name, value in parts:
        file_name = '; filename="log.csv"' if name == "file" else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'.encode() + value + b"\r\n"
    sent = {**(headers or {}), "Content-Type": "multipart/form-data; boundary=b"}
    async with asyncio.timeout(20):
        return (await api.call("POST", "dataset", data=io.BytesIO(body + b"--b--\r\n"), headers=sent)).status


ORDERS = [
    pytest.param([("datasetName", b"D"), ("caseIdColumn", b"case"), ("file", CSV)], id="file last"),
    pytest.param([("file", CSV), ("datasetName", b"D"), ("caseIdColumn", b"case")], id="file first"),
    pytest.param([("datasetName", b"D"), ("file", CSV), ("caseIdColumn", b"case")], id="file between"),
]


@pytest.mark.parametrize("parts", ORDERS)
async def test_the_file_arrives_whole_in_any_order(api: Api, parts: list[Part]) -> None:
    assert await upload(api, *parts) == 201
    assert [body for _, body in api.transfers.stored] == [CSV]
    command = api.requests.last(OpenDatasetUpload)
    assert (command.dataset_name, command.case_id_column, command.file_name) == ("D", "case", "log.csv")


async def test_the_file_is_sent_on_while_it_comes_in(api: Api) -> None:
    """The transfer to artifacts begins before the client has sent the end of its file."""
    api.requests.on(OpenDatasetUpload, TICKET)
    begun = asyncio.Event()
    inner = api.transfers.upload

    async def watched(where: UploadTicket, pieces: AsyncIterator[bytes]) -> object:
        begun.set()
        return await inner(where, pieces)

    api.transfers.upload = watched  # type: ignore[method-assign,assignment]

    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="datasetName"\r\n\r\nD\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="l.csv"\r\n\r\n' + CSV
        async with asyncio.timeout(10):
            await begun.wait()
        yield b"\r\n--b--\r\n"

    answer = await api.call("POST", "dataset", data=body(), headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status == 201
    assert api.transfers.stored[0][1] == CSV


async def test_a_field_after_the_file_gives_the_first_transfer_up(api: Api) -> None:
    assert await upload(api, ("datasetName", b"D"), ("file", CSV), ("timeColumn", b"time")) == 201
    assert api.transfers.given_up == 1
    assert len(api.transfers.stored) == 1


async def test_a_fault_after_the_file_stores_nothing(api: Api) -> None:
    assert await upload(api, ("datasetName", b"D"), ("file", CSV), ("timeColum", b"time")) == 400
    assert (api.transfers.stored, api.transfers.given_up) == ([], 1)


@pytest.mark.parametrize(
    "parts",
    [
        [("datasetName", b"D")],
        [("datasetName", b"D"), ("file", b"")],
        [("file", CSV)],
        [("datasetName", b""), ("file", CSV)],
        [("datasetName", b"\xff"), ("file", CSV)],
        [("datasetName", b"D"), ("datasetName", b"E"), ("file", CSV)],
        [("datasetName", b"D"), ("file", CSV), ("file", CSV)],
    ],
    ids=["no file", "empty file", "no name", "empty name", "bad utf-8", "two names", "two files"],
)
async def test_a_wrong_form_stores_nothing(api: Api, parts: list[Part]) -> None:
    assert await upload(api, *parts) == 400
    assert api.transfers.stored == []


async def test_a_file_over_the_limit_stores_nothing(api: Api) -> None:
    big = b"x" * 5_000_001
    assert await upload(api, ("datasetName", b"D"), ("file", big)) == 413
    assert await upload(api, ("file", big), ("datasetName", b"D")) == 413
    assert api.transfers.stored == []


async def test_what_artifacts_refuses_is_answered(api: Api) -> None:
    api.transfers.errors = [Invalid("Line 3 is ragged.")]
    assert await upload(api, ("datasetName", b"D"), ("file", CSV)) == 400


async def test_artifacts_may_refuse_before_the_end(api: Api) -> None:
    async def refuse(_where: UploadTicket, pieces: AsyncIterator[bytes]) -> object:
        await anext(pieces)
        raise Invalid("Line 1 is no table.")

    api.transfers.upload = refuse  # type: ignore[method-assign,assignment]
    assert await upload(api, ("datasetName", b"D"), ("file", CSV * 3)) == 400


async def test_artifacts_away_is_503(api: Api) -> None:
    api.transfers.errors = [Unavailable("Artifacts is away.")]
    assert await upload(api, ("datasetName", b"D"), ("file", CSV)) == 503


async def test_a_lost_reply_is_asked_for_again_under_the_same_ticket(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_upload, "ASK_AGAIN_S", 0.001)
    api.transfers.errors = [OutcomeUnknown("Lost.")]
    assert await upload(api, ("datasetName", b"D"), ("file", CSV)) == 201
    assert [(where.ticket, body == CSV) for where, body in api.transfers.stored] == [("D", True)]
    assert len([command for command in api.requests.asked if isinstance(command, OpenDatasetUpload)]) == 1


@pytest.mark.parametrize("parts", ORDERS)
async def test_a_full_disk_is_503_and_stores_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, parts: list[Part]
) -> None:
    full = partial(Path("/dev/full").open, "w+b", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full())
    assert await upload(api, *parts) == 503
    assert api.transfers.stored == []


async def test_a_key_stands_for_the_fields_here_and_for_the_file_in_artifacts(api: Api) -> None:
    async def fingerprint(*parts: Part) -> str:
        assert await upload(api, *parts, headers={"Idempotency-Key": "k"}) == 201
        return str(api.requests.last(OpenDatasetUpload).idempotency.fingerprint)

    first = await fingerprint(("datasetName", b"D"), ("file", CSV))
    assert await fingerprint(("file", CSV), ("datasetName", b"D"), ("timeColumn", b"")) == first
    assert await fingerprint(("datasetName", b"E"), ("file", CSV)) != first
