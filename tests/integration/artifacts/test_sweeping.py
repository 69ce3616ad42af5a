"""Objects without a row go when they are old enough, and only then; nothing that is referred to ever goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.artifacts import model
from services.artifacts.removals import Removals
from services.artifacts.sweeping import Sweeping
from shared.contracts.datasets import PinDataset, PinnedDataset
from shared.contracts.results import SealManifest
from shared.database import Database
from shared.errors import Unavailable
from shared.objects import OpenUpload
from tests.integration.artifacts.client import Client

LOG = b"case_id,activity,timestamp\n1,Register,2020-01-01T10:00:00Z\n1,Decide,2020-01-02T10:00:00Z\n"
DAY_S = 86_400.0
BINARY = "application/octet-stream"


@pytest.fixture
async def sweeping(client: Client) -> AsyncIterator[Sweeping]:
    """A sweep that runs when it is told to, on the service's own tables."""
    dsn = client.stack.artifacts.environment()["ATELIER_ARTIFACTS_POSTGRES_DSN"]
    database = Database(dsn, schema="artifacts")
    await database.open()
    removals = Removals(database, client.objects)
    yield Sweeping(database, client.objects, removals, every_s=3600, after_s=DAY_S)
    while await removals.work_off():
        continue
    await database.close()


async def swept(client: Client, sweeping: Sweeping, *, later_s: float) -> list[str]:
    """The project's objects after a sweep at a later time and the removals it ordered."""
    await sweeping.sweep(datetime.now(UTC) + timedelta(seconds=later_s))
    while await sweeping._removals.work_off():
        continue
    return await client.keys()


async def test_an_object_without_a_row_goes_when_it_is_old(client: Client, sweeping: Sweeping) -> None:
    orphans = [
        model.dataset_key(client.scope, uuid4(), uuid4()),
        model.library_key(client.scope, uuid4()),
        f"{model.epoch_prefix(client.scope, uuid4(), 2)}plot.png",
    ]
    for key in orphans:
        await client.objects.put(key, b"x", BINARY)
    assert await swept(client, sweeping, later_s=DAY_S / 2) == sorted(orphans)
    assert await swept(client, sweeping, later_s=DAY_S * 2) == []


async def test_what_a_lost_worker_had_sealed_goes_once_its_run_was_done_again(
    client: Client, sweeping: Sweeping
) -> None:
    run, notebook = uuid4(), uuid4()
    first = await client.stored(run, "first.pkl", b"first")
    await client.seal(run, notebook, [first])
    members = {"execution_id": run, "notebook_id": notebook, "epoch": 3, "entries": []}
    await client.ask(SealManifest, final=False, **members)
    assert await swept(client, sweeping, later_s=DAY_S * 2) == [first.object_key]
    await client.ask(SealManifest, final=True, **members)
    assert await swept(client, sweeping, later_s=DAY_S / 2) == [first.object_key]
    assert await client.listed(run) != []
    assert await swept(client, sweeping, later_s=DAY_S * 2) == []
    assert await client.listed(run) == []
    assert await client.sql("SELECT array_agg(epoch) FROM manifest WHERE execution_id = $1", run) == [3]


async def test_what_a_failed_attempt_left_behind_stays_when_another_was_made(
    client: Client, sweeping: Sweeping
) -> None:
    run, notebook = uuid4(), uuid4()
    first = await client.stored(run, "first.pkl", b"first")
    members = {"execution_id": run, "notebook_id": notebook, "final": True}
    await client.ask(SealManifest, epoch=1, entries=[first], kept=True, **members)
    await client.ask(SealManifest, epoch=3, entries=[], **members)
    assert await swept(client, sweeping, later_s=DAY_S * 2) == [first.object_key]
    assert await client.listed(run) != []


async def test_an_upload_in_parts_whose_process_died_is_aborted_when_it_is_old(
    client: Client, sweeping: Sweeping
) -> None:
    ours, foreign = f"{model.epoch_prefix(client.scope, uuid4(), 1)}{uuid4()}", f"somebody-else/{uuid4()}"
    for key in (ours, foreign):
        client.objects._client._create_multipart_upload(client.stack.s3.bucket, key, {})

    async def begun() -> set[str]:
        return {each.key for each in await client.objects.open_uploads()} & {ours, foreign}

    await swept(client, sweeping, later_s=DAY_S / 2)
    assert await begun() == {ours, foreign}
    await swept(client, sweeping, later_s=DAY_S * 2)
    assert await begun() == {foreign}


async def test_a_store_that_lists_no_uploads_is_swept_all_the_same(
    client: Client, sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_store: object) -> list[OpenUpload]:
        raise Unavailable("not implemented")

    monkeypatch.setattr(type(client.objects), "open_uploads", refuse)
    await client.objects.put(model.library_key(client.scope, uuid4()), b"x", BINARY)
    assert await swept(client, sweeping, later_s=DAY_S * 2) == []


async def test_what_is_referred_to_or_being_written_stays(client: Client, sweeping: Sweeping) -> None:
    dataset = await client.upload(LOG)
    pinned: PinnedDataset = await client.ask(PinDataset, dataset_id=dataset.dataset_id)
    await client.upload(LOG, dataset.dataset_id, purpose="replace")
    run, notebook = uuid4(), uuid4()
    entry = await client.stored(run, "model.pkl", b"model", kind="model")
    packed = await client.packed(run, [b"one", b"two"])
    assert packed[1].pack is not None
    await client.seal(run, notebook, [entry, packed[1]])
    writing = model.dataset_key(client.scope, uuid4(), uuid4())
    await client.objects.put(writing, b"x", BINARY)
    await client.sql("INSERT INTO unsealed_object (object_key, owner) VALUES ($1, $2)", writing, uuid4())
    before = await client.keys()
    assert {pinned.object_key, writing, entry.object_key, packed[1].pack.object_key} < set(before)
    assert await swept(client, sweeping, later_s=DAY_S * 2) == before
    await client.sql("DELETE FROM unsealed_object WHERE object_key = $1", writing)
    assert await swept(client, sweeping, later_s=DAY_S * 2) == [key for key in before if key != writing]


async def test_what_is_not_ours_is_left_alone(client: Client, sweeping: Sweeping) -> None:
    foreign = f"somebody-else/{uuid4()}/file.txt"
    await client.objects.put(foreign, b"x", BINARY)
    await swept(client, sweeping, later_s=DAY_S * 2)
    assert await client.objects.get(foreign) == b"x"
    await client.objects.remove([foreign])


async def test_only_one_process_sweeps_at_a_time(sweeping: Sweeping, client: Client) -> None:
    await client.sql("UPDATE sweep SET begun_at = NULL")
    assert [await sweeping._is_my_turn() for _ in range(3)] == [True, False, False]
