"""What is told of a dataset besides its rows: versions, first rows, profile, source, and how far an upload is."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared import child_template, replies
from shared.contracts.base import Command, Scope
from shared.contracts.datasets import (
    Dataset,
    DatasetPreview,
    DatasetProfile,
    DatasetVersionPage,
    GetDataset,
    GetDatasetProfile,
    GetUploadProgress,
    ListDatasetVersions,
    PreviewDataset,
    TextWriting,
    UploadProgress,
)
from shared.errors import Invalid, NotFound
from tests.integration.artifacts.client import Client

LOG = b"case_id,activity,timestamp\n1,Register,2020-01-01T10:00:00Z\n1,Decide,2020-01-02T10:00:00Z\n"
WAIT_S = 60.0


async def profile_of(client: Client, dataset: Dataset) -> DatasetProfile:
    async with asyncio.timeout(WAIT_S):
        while True:
            found: DatasetProfile = await client.ask(GetDatasetProfile, dataset_id=dataset.dataset_id)
            if found.state != "Pending":
                return found
            await asyncio.sleep(0.05)


async def test_a_profile_follows_the_dataset(client: Client) -> None:
    rows = "".join(f"{n % 1000},{'Pay' if n % 3 else 'Decide'},{n},{n / 4}\n" for n in range(50_000))
    dataset = await client.upload(f"case_id,activity,n,x\n{rows}7,,,\n".encode())
    found = await profile_of(client, dataset)
    assert (found.state, found.version, found.record_count) == ("Ready", 1, 50_001)
    case, activity, number, share = found.columns
    assert (case.type, case.null_count, case.distinct_count, case.distinct_is_exact) == ("integer", 0, 1000, True)
    assert (case.min, case.max, case.top_values[0].value, case.top_values[0].count) == (0, 999, 7, 51)
    assert [(top.value, top.count) for top in activity.top_values] == [("Pay", 33_333), ("Decide", 16_667)]
    assert (activity.null_count, activity.top_is_exact) == (1, True)
    assert number.distinct_is_exact is False
    assert 47_000 < number.distinct_count < 53_000
    assert (share.min, share.max, share.type) == (0.0, 12_499.75, "number")
    assert (await client.ask(GetDataset, dataset_id=dataset.dataset_id)).profile.state == "Ready"


async def test_a_profile_of_every_type_and_of_none(client: Client) -> None:
    table = pa.table(
        {
            "big": pa.array([2**60, None], pa.int64()),
            "when": pa.array([1_500_000_000_123_456, 0], pa.timestamp("us", "UTC")),
            "local": pa.array([1, None], pa.timestamp("ns")),
            "day": pa.array([1, 2], pa.date32()),
            "yes": pa.array([True, None]),
            "money": pa.array([None, None], pa.decimal128(10, 2)),
            "x": pa.array([float("nan"), float("inf")]),
            "empty": pa.array([None, None], pa.string()),
            "long": pa.array(["y" * 5_000, "z"]),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    dataset = await client.upload(sink.getvalue(), file_name="x.parquet")
    found = {column.name: column for column in (await profile_of(client, dataset)).columns}
    assert found["big"].min == str(2**60)
    assert (found["when"].min, found["when"].max) == ("1970-01-01T00:00:00Z", "2017-07-14T02:40:00.123456Z")
    assert found["local"].max == "1970-01-01T00:00:00.000000001"
    assert found["day"].max == "1970-01-03"
    assert (found["yes"].min, found["yes"].null_count) == (True, 1)
    assert (found["money"].min, found["empty"].top_values) == (None, [])
    assert len(str(found["long"].min)) == 1_000
    preview: DatasetPreview = await client.ask(PreviewDataset, dataset_id=dataset.dataset_id)
    assert preview.rows[0]["big"] == str(2**60)
    assert [row["x"] for row in preview.rows] == ["NaN", "Infinity"]
    assert preview.rows[0]["long"] == "y" * 5_000


async def test_a_dataset_without_rows_has_an_empty_profile_and_preview(client: Client) -> None:
    dataset = await client.upload(b"case_id,activity\n")
    found = await profile_of(client, dataset)
    assert [(column.name, column.null_count, column.distinct_count) for column in found.columns] == [
        ("case_id", 0, 0),
        ("activity", 0, 0),
    ]
    assert (await client.ask(PreviewDataset, dataset_id=dataset.dataset_id)).rows == []


async def test_a_preview_shows_the_first_rows_exactly(client: Client) -> None:
    rows = "".join(f"{n},07,{n}.50,2020-01-01T10:00:00.{n % 1000:03}Z\n" for n in range(100_000))
    dataset = await client.upload(f"case_id,code,x,timestamp\n{rows}".encode())
    preview: DatasetPreview = await client.ask(PreviewDataset, dataset_id=dataset.dataset_id)
    assert len(preview.rows) == 20
    assert preview.rows[1] == {"case_id": 1, "code": "07", "x": 1.5, "timestamp": "2020-01-01T10:00:00.001Z"}
    assert [column.name for column in preview.columns] == ["case_id", "code", "x", "timestamp"]
    most: DatasetPreview = await client.ask(PreviewDataset, dataset_id=dataset.dataset_id, rows=1000)
    assert [row["case_id"] for row in most.rows] == list(range(1000))


async def test_a_very_wide_table_shows_fewer_rows(client: Client) -> None:
    wide = ",".join(f"c{n}" for n in range(4_000)) + "\n"
    dataset = await client.upload(wide.encode() + (b",".join([b"1"] * 4_000) + b"\n") * 60)
    await profile_of(client, dataset)
    preview: DatasetPreview = await client.ask(PreviewDataset, dataset_id=dataset.dataset_id, rows=60)
    assert len(preview.rows) == 50


async def profiling_process(client: Client) -> psutil.Process:
    """The process that computes a profile, as soon as there is one."""
    pid = client.stack["artifacts"].pid
    assert pid is not None
    service = psutil.Process(pid)
    async with asyncio.timeout(WAIT_S):
        while True:
            for template in service.children():
                with suppress(psutil.NoSuchProcess):
                    if child_template.__name__ in template.cmdline() and (children := template.children()):
                        return children[0]
            await asyncio.sleep(0.01)


async def test_a_profile_keeps_nobody_waiting(client: Client) -> None:
    wide = ",".join(f"c{n}" for n in range(5_000)) + "\n"
    dataset = await client.upload(wide.encode() + (b",".join([b"1"] * 5_000) + b"\n") * 40)
    child = await profiling_process(client)
    child.suspend()  # a profile that takes for ever
    assert len((await client.ask(PreviewDataset, dataset_id=dataset.dataset_id)).rows) == 20
    other = await client.upload(LOG)
    assert len((await client.ask(PreviewDataset, dataset_id=other.dataset_id)).rows) == 2
    assert (await client.ask(GetDatasetProfile, dataset_id=dataset.dataset_id)).state == "Pending"
    child.resume()
    found = await profile_of(client, dataset)
    assert (found.state, len(found.columns), found.columns[4_999].min) == ("Ready", 5_000, 1)
    assert (await profile_of(client, other)).state == "Ready"


async def test_a_profile_whose_process_is_killed_has_failed(client: Client) -> None:
    wide = ",".join(f"c{n}" for n in range(5_000)) + "\n"
    dataset = await client.upload(wide.encode() + b",".join([b"1"] * 5_000) + b"\n")
    (await profiling_process(client)).kill()
    assert (await profile_of(client, dataset)).state == "Failed"
    assert (await profile_of(client, await client.upload(LOG))).state == "Ready"


async def test_versions_are_listed_newest_first(client: Client) -> None:
    first = await client.upload(LOG)
    for _ in range(2):
        await client.upload(LOG, first.dataset_id, purpose="replace")
    page: DatasetVersionPage = await client.ask(ListDatasetVersions, dataset_id=first.dataset_id, page_size=2)
    assert [item.version for item in page.items] == [3, 2]
    assert (page.total_count, page.has_next_page) == (3, True)
    rest: DatasetVersionPage = await client.ask(ListDatasetVersions, dataset_id=first.dataset_id, page=2, page_size=2)
    by_cursor: DatasetVersionPage = await client.ask(
        ListDatasetVersions, dataset_id=first.dataset_id, page_size=2, cursor=page.next_cursor
    )
    assert by_cursor.items == rest.items
    assert (by_cursor.has_next_page, by_cursor.next_cursor) == (False, None)
    (oldest,) = rest.items
    assert (oldest.version, oldest.sha256, oldest.created_by) == (1, first.sha256, "anna")
    other = Scope(tenant_id=client.scope.tenant_id, project_id=uuid4())
    commands: list[type[Command[Any]]] = [ListDatasetVersions, PreviewDataset, GetDatasetProfile]
    for command in commands:
        with pytest.raises(NotFound):
            await client.ask(command, scope=other, dataset_id=first.dataset_id)


async def test_the_source_says_how_the_file_was_read(client: Client) -> None:
    data = "case;x;wann\n1;2,5;01-02-2020 10:00\n".encode("cp1252")
    dataset = await client.upload(data, file_name="log.csv", writing=TextWriting(time_format="%d-%m-%Y %H:%M"))
    source = dataset.source
    assert source is not None
    assert (source.file_name, source.format, source.delimiter, source.decimal) == ("log.csv", "csv", ";", ",")
    assert source.time_formats == {"wann": "%d-%m-%Y %H:%M"}
    assert (source.size_bytes, source.encoding) == (len(data), "utf-8")


async def test_a_sender_can_see_how_far_an_upload_is(client: Client) -> None:
    mine = uuid4()
    go_on = asyncio.Event()
    ticket = await client.ticket(progress_id=mine)

    async def pieces() -> AsyncIterator[bytes]:
        yield LOG
        yield b"1,Wait,2020-01-01T10:00:00Z\n" * 200_000
        await go_on.wait()

    async def send() -> Dataset:
        headers = {"Authorization": f"Ticket {ticket.ticket}"}
        async with client.session.put(ticket.url, data=pieces(), headers=headers) as answer:
            return Dataset.model_validate(replies.decode(await answer.read()).data)

    with pytest.raises(NotFound):
        await client.ask(GetUploadProgress, upload_id=mine)
    sending = asyncio.create_task(send())
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                seen: UploadProgress = await client.ask(GetUploadProgress, upload_id=mine)
            except NotFound:
                continue
            if seen.rows_converted:
                break
            await asyncio.sleep(0.05)
    assert (seen.phase, seen.dataset_id) == ("Receiving", sending and seen.dataset_id)
    assert seen.bytes_received > 1_000_000
    go_on.set()
    dataset = await sending
    done: UploadProgress = await client.ask(GetUploadProgress, upload_id=mine)
    assert (done.phase, done.rows_converted, done.dataset_id) == ("Ready", 200_002, dataset.dataset_id)


async def test_a_refused_upload_says_why(client: Client) -> None:
    mine = uuid4()
    with pytest.raises(Invalid):
        await client.upload(b"a,b\n1\n", progress_id=mine)
    seen: UploadProgress = await client.ask(GetUploadProgress, upload_id=mine)
    assert seen.phase == "Failed"
    assert "Line 2" in (seen.error or "")
