"""Datasets through the real service: files in, rows and objects and events out, and nothing of what fails."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from shared import envelope as envelopes
from shared import replies
from shared.contracts.base import Command, Idempotency, Scope
from shared.contracts.datasets import (
    Dataset,
    DatasetPage,
    DeleteDataset,
    GetDataset,
    ListDatasets,
    PinDataset,
    PinnedDataset,
)
from shared.contracts.notebooks import Precondition
from shared.errors import Conflict, Invalid, NotFound, Unavailable
from tests.integration.artifacts.client import Client

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

SAMPLES = Path(os.environ.get("ATELIER_SAMPLE_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
LOG = b"case_id,activity,timestamp\n1,Register,2020-01-01T10:00:00Z\n1,Decide,2020-01-02T10:00:00Z\n"


def sample(name: str) -> bytes:
    if not SAMPLES.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"no sample data at {SAMPLES}")
    return (SAMPLES / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "events", "cases"),
    [("receipt.csv", 8577, 1434), ("roadtraffic100traces.csv", 390, 100), ("running-example.xes", 42, 6)],
)
async def test_a_real_log_is_stored_and_comes_back_unchanged(
    client: Client, name: str, events: int, cases: int
) -> None:
    data = sample(name)
    dataset = await client.upload(data, dataset_name=name, file_name=name)
    assert (dataset.record_count, dataset.case_count, dataset.version) == (events, cases, 1)
    assert dataset.case_id_column == "case:concept:name"
    assert dataset.activity_column == "concept:name"
    assert dataset.time_column == "time:timestamp"
    assert {column.name: column.type for column in dataset.columns}["time:timestamp"] == "timestamp"

    pinned: PinnedDataset = await client.ask(PinDataset, dataset_id=dataset.dataset_id)
    present = await client.ask(GetDataset, dataset_id=dataset.dataset_id)
    assert pinned.dataset.etag == dataset.etag == present.etag
    assert await client.keys() == [pinned.object_key]
    stored = await client.objects.get(pinned.object_key)
    parquet = await client.data(dataset.dataset_id, "parquet")
    assert (parquet.status, parquet.body) == (200, stored)
    assert parquet.headers["ETag"] == f'"{dataset.sha256}"'
    csv = await client.data(dataset.dataset_id, "csv")
    if name.endswith(".csv"):
        assert csv.body == data.replace(b"\r\n", b"\n")
    assert csv.body.count(b"\n") == events + 1
    assert f'filename="{Path(name).stem}.csv"' in csv.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "data",
    [b"", b"a,b\n1\n", b"a,a\n1,2\n", b"a,b\n\x00,2\n", b"{}", b"PK\x03\x04", b"PAR1junk", b"\x1f\x8bjunk"],
)
async def test_a_refused_file_leaves_nothing(client: Client, data: bytes, eventually: Eventually) -> None:
    dataset_id = uuid4()
    with pytest.raises(Invalid):
        await client.upload(data, dataset_id)
    with pytest.raises(NotFound):
        await client.ask(GetDataset, dataset_id=dataset_id)
    assert await client.keys() == []
    transfers = Path(client.stack.artifacts.environment()["ATELIER_WORK_DIR"]) / "transfers"

    async def is_clean() -> bool:
        return not [path for path in transfers.glob("*/*") if path.is_dir()]

    await eventually(is_clean)


async def test_a_refusal_reaches_a_sender_who_is_still_sending(client: Client) -> None:
    with pytest.raises(Invalid, match="Line 2"):
        await client.upload(b"a,b\n1\n" + b"1,2\n" * 2_000_000)


async def test_a_wished_column_that_is_not_there_is_named(client: Client) -> None:
    with pytest.raises(Invalid, match=r"'nope'.*'activity'") as refusal:
        await client.upload(LOG, case_id_column="nope")
    assert refusal.value.faults[0].path == "caseIdColumn"


async def test_an_upload_broken_off_leaves_nothing(client: Client, eventually: Eventually) -> None:
    ticket = await client.ticket()

    async def pieces() -> AsyncIterator[bytes]:
        yield LOG
        raise ConnectionAbortedError

    with pytest.raises((aiohttp.ClientError, ConnectionAbortedError)):
        async with client.session.put(ticket.url, data=pieces(), headers={"Authorization": f"Ticket {ticket.ticket}"}):
            pytest.fail("nothing should be answered")
    assert await client.keys() == []
    assert (await client.send(ticket, LOG)).record_count == 2


async def test_the_same_ticket_twice_gives_the_first_answer(client: Client, eventually: Eventually) -> None:
    ticket = await client.ticket()
    first, second = await asyncio.gather(client.send(ticket, LOG), client.send(ticket, LOG))
    assert first == second

    async def one_object() -> bool:
        return len(await client.keys()) == 1

    await eventually(one_object)
    assert (await client.data(first.dataset_id, "parquet")).status == 200


async def test_an_idempotency_key_covers_fields_and_file(client: Client) -> None:
    key = Idempotency(key="k", route="POST dataset", fingerprint="fields")
    first = await client.upload(LOG, idempotency=key)
    assert await client.upload(LOG, idempotency=key) == first
    with pytest.raises(Conflict):
        await client.upload(LOG.replace(b"1", b"2"), idempotency=key)
    with pytest.raises(Conflict):
        await client.upload(LOG, idempotency=key.model_copy(update={"fingerprint": "others"}))
    page: DatasetPage = await client.ask(ListDatasets)
    assert [item.dataset_id for item in page.items] == [first.dataset_id]


async def test_new_data_makes_a_new_version_and_leaves_the_old_object(client: Client) -> None:
    first = await client.upload(LOG, case_id_column="activity")
    before: PinnedDataset = await client.ask(PinDataset, dataset_id=first.dataset_id)
    second = await client.upload(
        LOG + b"2,Pay,2020-01-03T10:00:00Z\n", first.dataset_id, purpose="replace", dataset_name=""
    )
    assert (second.version, second.record_count, second.dataset_name) == (2, 3, first.dataset_name)
    assert second.case_id_column == "activity"  # as it was
    assert second.date_created == first.date_created < second.date_modified
    assert await client.objects.get(before.object_key)
    with pytest.raises(NotFound):
        await client.upload(LOG, uuid4(), purpose="replace")


async def test_a_stale_belief_replaces_and_deletes_nothing(client: Client) -> None:
    first = await client.upload(LOG)
    belief = Precondition(etag=first.etag)
    key = Idempotency(key="k2", route="PUT dataset", fingerprint="fields")
    again = {"purpose": "replace", "precondition": belief, "idempotency": key}
    second = await client.upload(LOG + b"2,Pay,2020-01-03T10:00:00Z\n", first.dataset_id, **again)
    assert second.etag != first.etag
    # The same request once more is answered as before, although its belief is stale by now.
    assert await client.upload(LOG + b"2,Pay,2020-01-03T10:00:00Z\n", first.dataset_id, **again) == second
    for stale in (belief, Precondition(date_modified=first.date_modified)):
        with pytest.raises(Conflict) as refusal:
            await client.upload(LOG, first.dataset_id, purpose="replace", precondition=stale)
        assert refusal.value.extra["etag"] == second.etag
        with pytest.raises(Conflict):
            await client.ask(DeleteDataset, dataset_id=first.dataset_id, precondition=stale)
    present = Precondition(date_modified=second.date_modified.replace(microsecond=0))
    assert (await client.ask(GetDataset, dataset_id=first.dataset_id)).version == 2
    with pytest.raises(Conflict):
        await client.ask(DeleteDataset, dataset_id=first.dataset_id, precondition=present)
    await client.ask(DeleteDataset, dataset_id=first.dataset_id, precondition=Precondition(etag=second.etag))


async def test_a_belief_that_grows_stale_during_the_upload_is_a_conflict(client: Client) -> None:
    first = await client.upload(LOG)
    belief = Precondition(etag=first.etag)
    slow = await client.ticket(first.dataset_id, purpose="replace", precondition=belief)
    second = await client.upload(LOG, first.dataset_id, purpose="replace", precondition=belief)
    with pytest.raises(Conflict):
        await client.send(slow, LOG)
    present = await client.ask(GetDataset, dataset_id=first.dataset_id)
    assert (present.version, present.etag) == (second.version, second.etag)  # its profile may be ready meanwhile


async def test_every_version_can_still_be_read(client: Client) -> None:
    first = await client.upload(LOG)
    await client.upload(LOG.partition(b"\n")[0] + b"\n", first.dataset_id, purpose="replace")
    old: Dataset = await client.ask(GetDataset, dataset_id=first.dataset_id, version=1)
    assert (old.version, old.record_count, old.etag) == (1, 2, first.etag)
    assert (await client.data(first.dataset_id, "csv", version=1)).body.count(b"\n") == 3
    assert (await client.data(first.dataset_id, "csv")).body.count(b"\n") == 1
    with pytest.raises(NotFound):
        await client.ask(GetDataset, dataset_id=first.dataset_id, version=3)


async def test_concurrent_new_data_gets_a_version_each(client: Client) -> None:
    dataset = await client.upload(LOG)
    done = await asyncio.gather(*(client.upload(LOG, dataset.dataset_id, purpose="replace") for _ in range(4)))
    assert sorted(one.version for one in done) == [2, 3, 4, 5]


async def test_facts_tell_of_a_dataset(client: Client) -> None:
    channel = await client.broker.consumer_channel(prefetch=10)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind("atelier.events", f"dataset.*.{client.scope.tenant_id}.#")
    dataset = await client.upload(LOG)
    await client.upload(LOG, dataset.dataset_id, purpose="replace")
    await client.ask(DeleteDataset, dataset_id=dataset.dataset_id)
    heard = []
    async with asyncio.timeout(10), queue.iterator(no_ack=True) as messages:
        async for message in messages:
            heard.append(envelopes.Envelope.decode(message.body))
            if len(heard) == 3:
                break
    assert [fact.type for fact in heard] == ["dataset.created", "dataset.updated", "dataset.deleted"]
    assert [fact.data["version"] for fact in heard] == [1, 2, 2]
    await channel.close()


async def test_a_deleted_dataset_is_gone_with_its_objects(client: Client, eventually: Eventually) -> None:
    dataset = await client.upload(LOG)
    await client.upload(LOG, dataset.dataset_id, purpose="replace")
    await client.ask(DeleteDataset, dataset_id=dataset.dataset_id)
    with pytest.raises(NotFound):
        await client.ask(PinDataset, dataset_id=dataset.dataset_id)
    with pytest.raises(NotFound):
        await client.ask(DeleteDataset, dataset_id=dataset.dataset_id)
    assert (await client.data(dataset.dataset_id, "csv")).status == 404

    async def nothing_left() -> bool:
        return await client.keys() == []

    await eventually(nothing_left)


async def test_pages_by_cursor_neither_skip_nor_repeat(client: Client) -> None:
    uploaded = [(await client.upload(LOG)).dataset_id for _ in range(5)]
    page: DatasetPage = await client.ask(ListDatasets, page_size=2)
    seen = [item.dataset_id for item in page.items]
    await client.upload(LOG)  # would shift page numbers
    while page.next_cursor:
        page = await client.ask(ListDatasets, page_size=2, cursor=page.next_cursor)
        seen += [item.dataset_id for item in page.items]
    assert seen == uploaded[::-1]
    assert (page.total_count, page.has_next_page) == (6, False)
    second: DatasetPage = await client.ask(ListDatasets, page=2, page_size=4)
    assert [item.dataset_id for item in second.items] == uploaded[1::-1]
    for forged in ("nonsense", "%%%", "MjAyNnxY"):
        with pytest.raises(Invalid):
            await client.ask(ListDatasets, cursor=forged)


async def test_another_project_sees_nothing(client: Client) -> None:
    dataset = await client.upload(LOG)
    other = Scope(tenant_id=client.scope.tenant_id, project_id=uuid4())
    commands: list[type[Command[Any]]] = [GetDataset, PinDataset, DeleteDataset]
    for command in commands:
        with pytest.raises(NotFound):
            await client.ask(command, scope=other, dataset_id=dataset.dataset_id)
    assert (await client.ask(ListDatasets, scope=other)).items == []
    with pytest.raises(NotFound):
        await client.ticket(dataset.dataset_id, scope=other, purpose="replace")


async def test_a_ticket_is_good_for_its_own_path_and_purpose_only(client: Client) -> None:
    ticket = await client.ticket()
    header = {"Authorization": f"Ticket {ticket.ticket}"}
    base = client.stack.artifacts.url
    other = f"{base}/internal/datasets/{uuid4()}"
    for url, headers, status in (
        (ticket.url, {}, 401),
        (ticket.url, {"Authorization": "Ticket forged.ticket"}, 401),
        (ticket.url, {"Authorization": f"Ticket {ticket.ticket}x"}, 401),
        (other, header, 404),
        (f"{base}/internal/payloads/{uuid4()}", header, 401),
    ):
        async with client.session.put(url, data=LOG, headers=headers) as answer:
            assert answer.status == status
    assert await client.keys() == []


async def test_with_the_store_down_an_upload_is_refused_and_later_works(client: Client) -> None:
    ticket = await client.ticket()
    await asyncio.to_thread(client.stack.object_store.stop)
    try:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await client.send(ticket, LOG)
        assert time.monotonic() - began < 20
    finally:
        await asyncio.to_thread(client.stack.object_store.start)
    assert (await client.send(ticket, LOG)).record_count == 2
    assert len(await client.keys()) == 1


async def test_slow_senders_do_not_keep_others_waiting(client: Client) -> None:
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield LOG
        await go_on.wait()
        yield LOG.partition(b"\n")[2]

    async def send() -> int:
        ticket = await client.ticket()
        headers = {"Authorization": f"Ticket {ticket.ticket}"}
        async with client.session.put(ticket.url, data=slowly(), headers=headers) as answer:
            return Dataset.model_validate(replies.decode(await answer.read()).data).record_count

    slow = [asyncio.create_task(send()) for _ in range(20)]
    async with asyncio.timeout(10):
        assert (await client.upload(LOG)).record_count == 2
    go_on.set()
    assert await asyncio.gather(*slow) == [4] * 20


async def test_a_database_that_comes_back_in_time_costs_no_upload(client: Client) -> None:
    ticket = await client.ticket()

    async def pieces() -> AsyncIterator[bytes]:
        yield LOG
        await asyncio.to_thread(client.stack.postgres.kill)

    async def send() -> Dataset:
        headers = {"Authorization": f"Ticket {ticket.ticket}"}
        async with client.session.put(ticket.url, data=pieces(), headers=headers) as answer:
            reply = replies.decode(await answer.read())
        reply.raise_error()
        return Dataset.model_validate(reply.data)

    sending = asyncio.create_task(send())
    async with asyncio.timeout(10):
        while client.stack.postgres.is_running():
            await asyncio.sleep(0.05)
    await asyncio.to_thread(client.stack.postgres.start)
    dataset = await sending
    assert dataset.record_count == 2
    assert (await client.ask(ListDatasets)).total_count == 1
    assert len(await client.keys()) == 1


async def test_killed_in_the_middle_of_an_upload_nothing_shows(client: Client) -> None:
    ticket = await client.ticket()
    began = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield LOG
        began.set()
        while True:
            await asyncio.sleep(0.01)
            yield b"1,Wait,2020-01-01T10:00:00Z\n"

    async def send() -> None:
        async with client.session.put(ticket.url, data=pieces(), headers={"Authorization": f"Ticket {ticket.ticket}"}):
            pass

    sending = asyncio.create_task(send())
    await began.wait()
    await asyncio.to_thread(client.stack.artifacts.kill)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await sending
    await asyncio.to_thread(client.stack.artifacts.start)
    assert await client.keys() == []
    assert (await client.send(ticket, LOG)).record_count == 2
    transfers = Path(client.stack.artifacts.environment()["ATELIER_WORK_DIR"]) / "transfers"
    assert len(list(transfers.iterdir())) == 1  # the dead process's folder was swept
