"""What runs leave behind, through the real service: sealed, listed, downloaded, purged."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.artifacts import claim_checks, model
from services.artifacts.removals import Removals
from shared.contracts.base import Scope
from shared.contracts.execution_events import ExecutionPurged
from shared.contracts.notebooks import NotebookDeleted
from shared.contracts.results import GetArtifact, ListArtifacts, SealManifest
from shared.database import Database
from shared.errors import Conflict, Invalid, NotFound, Unavailable
from shared.payloads import HttpPayloadStore
from tests.integration.artifacts.client import Client, entry

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
PARQUET_TYPE = "application/vnd.apache.parquet"


def notebook_deleted(scope: Scope, notebook_id: UUID) -> NotebookDeleted:
    return NotebookDeleted(
        scope=scope, notebook_id=notebook_id, notebook_name="n", notebook_version="1.0.0", changed_by="anna"
    )


async def test_a_manifest_grows_until_it_is_final(client: Client) -> None:
    run, notebook = uuid4(), uuid4()
    first, second = entry(PNG, position=2, file_name="late.png"), entry(b"text", position=1, content="a\x00b")
    await client.seal(run, notebook, [first], final=False)
    await client.seal(run, notebook, [second], final=True)
    assert [one.artifact_id for one in await client.listed(run)] == [second.artifact_id, first.artifact_id]
    await client.seal(run, notebook, [first, second], final=True)  # asked again after a lost reply
    with pytest.raises(Conflict):
        await client.seal(run, notebook, [entry(b"more")], final=False)
    assert len(await client.listed(run)) == 2
    assert (await client.listed(run))[0].content == "a\x00b"


async def test_each_epoch_has_a_manifest_of_its_own(client: Client) -> None:
    run, notebook = uuid4(), uuid4()
    await client.seal(run, notebook, [entry(b"one")])
    await client.ask(SealManifest, execution_id=run, notebook_id=notebook, epoch=2, final=True, entries=[])
    assert len(await client.listed(run)) == 1
    answer = await client.ask(ListArtifacts, execution_id=run, epoch=2)
    assert answer.artifacts == []


async def test_an_entry_sealed_again_is_replaced(client: Client) -> None:
    run, notebook, one = uuid4(), uuid4(), entry(b"first", name="first")
    await client.seal(run, notebook, [one], final=False)
    again = entry(b"second", name="second", artifact_id=one.artifact_id)
    await client.seal(run, notebook, [again])
    assert [found.name for found in await client.listed(run)] == ["second"]
    assert (await client.artifact(run, one.artifact_id)).body == b"second"


async def test_lists_are_filtered_by_type_cell_and_kind(client: Client) -> None:
    run, notebook = uuid4(), uuid4()
    kinds = {
        "plot": entry(PNG, content_type="image/png", output_type="image/png", cell_id="c1", name="plot"),
        "text": entry(b"hi", content_type="text/plain", output_type="stream", cell_id="c1", name="text", content="hi"),
        "table": entry(b"<table>", content_type="text/html", cell_id="c2", name="table", content="<table>"),
        "enriched": entry(b"PAR1", kind="enriched_dataset", content_type=PARQUET_TYPE, name="enriched"),
        "model": entry(b"pkl", kind="model", name="model", details={"modelType": "RandomForest"}),
        "report": entry(b"<p>", kind="report", content_type="text/html", name="report"),
        "notebook": entry(b"{}", kind="notebook", name="notebook"),
    }
    await client.seal(run, notebook, list(kinds.values()))

    async def names(**filters: object) -> set[str]:
        return {one.name for one in await client.listed(run, **filters)}

    assert await names() == set(kinds) - {"notebook"}
    assert await names(output_type="data") == {"table", "enriched"}
    assert await names(output_type="plots") == {"plot"}
    assert await names(output_type="models") == {"model"}
    assert await names(output_type="reports") == {"report"}
    assert await names(cell_id="c1") == {"plot", "text"}
    assert await names(cell_id="c1", output_type="plots") == {"plot"}
    assert await names(kind="notebook") == {"notebook"}
    assert {one.content for one in await client.listed(run, with_content=False)} == {None}
    found = await client.ask(GetArtifact, execution_id=run, epoch=1, artifact_id=kinds["model"].artifact_id)
    assert found.details == {"modelType": "RandomForest"}
    assert found.inline is None


async def test_what_does_not_fit_together_is_refused_whole(client: Client) -> None:
    run, notebook = uuid4(), uuid4()
    foreign = f"{uuid4()}/{uuid4()}/{run}/1/x"
    for bad in (entry(b"x", sha256="0" * 64), entry(b"x", object_key=foreign), entry(b"x", inline=None)):
        with pytest.raises(Invalid):
            await client.seal(run, notebook, [entry(b"good"), bad])
    assert await client.listed(run) == []
    await client.seal(run, notebook, [entry(b"good")], final=False)
    with pytest.raises(Conflict):
        await client.seal(run, uuid4(), [])


async def test_another_project_sees_no_artifact(client: Client) -> None:
    run, one = uuid4(), entry(b"x")
    await client.seal(run, uuid4(), [one])
    other = Scope(tenant_id=client.scope.tenant_id, project_id=uuid4())
    assert (await client.ask(ListArtifacts, scope=other, execution_id=run, epoch=1)).artifacts == []
    with pytest.raises(NotFound):
        await client.ask(GetArtifact, scope=other, execution_id=run, epoch=1, artifact_id=one.artifact_id)


@pytest.mark.parametrize("kept", ["inline", "whole", "packed"])
async def test_bytes_are_served_whole_by_range_and_by_validator(client: Client, kept: str) -> None:
    run, data = uuid4(), os.urandom(600_000)
    members = {"file_name": "plöt.png", "content_type": "image/png"}
    if kept == "inline":
        one = entry(data, **members)
    elif kept == "whole":
        one = await client.stored(run, "plöt.png", data, content_type="image/png")
    else:
        neighbours = [os.urandom(50_000), data, os.urandom(50_000)]
        one = (await client.packed(run, neighbours))[1].model_copy(update=members)
    await client.seal(run, uuid4(), [one])
    whole = await client.artifact(run, one.artifact_id)
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    assert (whole.status, whole.body == data) == (200, True)
    assert whole.headers["Content-Type"] == "image/png"
    assert whole.headers["ETag"] == etag
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert "filename*=UTF-8''pl%C3%B6t.png" in whole.headers["Content-Disposition"]
    part = await client.artifact(run, one.artifact_id, Range="bytes=10-19")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, data[10:20], "bytes 10-19/600000")
    assert (await client.artifact(run, one.artifact_id, Range="bytes=-7")).body == data[-7:]
    past = await client.artifact(run, one.artifact_id, Range="bytes=600000-")
    assert (past.status, past.headers["Content-Range"]) == (416, "bytes */600000")
    known = await client.artifact(run, one.artifact_id, **{"If-None-Match": etag})
    assert (known.status, known.body) == (304, b"")
    changed = await client.artifact(run, one.artifact_id, **{"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (changed.status, len(changed.body)) == (200, 600_000)


async def test_a_parquet_artifact_is_served_as_csv_on_request(client: Client) -> None:
    run, sink = uuid4(), io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), sink)
    one = await client.stored(
        run, "enriched.parquet", sink.getvalue(), kind="enriched_dataset", content_type=PARQUET_TYPE
    )
    await client.seal(run, uuid4(), [one])
    answer = await client.artifact(run, one.artifact_id, "?format=csv")
    assert (answer.status, answer.body) == (200, b"a,b\n1,x\n2,\n")
    assert 'filename="enriched.csv"' in answer.headers["Content-Disposition"]


async def test_an_object_that_is_not_what_was_registered_is_never_served(client: Client) -> None:
    run = uuid4()
    lost = entry(b"x", object_key=f"{model.epoch_prefix(client.scope, run, 1)}lost")
    cut = (await client.stored(run, "cut", b"abc")).model_copy(update={"size_bytes": 4})
    await client.seal(run, uuid4(), [lost, cut])
    assert (await client.artifact(run, lost.artifact_id)).status == 404
    assert (await client.artifact(run, cut.artifact_id)).status == 503


async def test_the_archive_holds_everything_with_a_manifest(client: Client) -> None:
    run, large = uuid4(), os.urandom(3_000_000)
    entries = [
        await client.stored(run, "model.pkl", large, kind="model"),
        entry(PNG, file_name="../../plot.png", content_type="image/png", position=1, cell_id="c1"),
        entry(b"other", file_name="plot.png", position=2),
        entry(b"{}", file_name="manifest.json", position=3),
    ]
    await client.seal(run, uuid4(), entries)
    archive = await client.archive(run)
    assert archive.namelist() == ["manifest.json", "model.pkl", "plot.png", "plot-2.png", "manifest-2.json"]
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["executionId"] == str(run)
    assert "objectKey" not in manifest["artifacts"][0]
    for described in manifest["artifacts"]:
        assert hashlib.sha256(archive.read(described["path"])).hexdigest() == described["sha256"]
    assert (await client.archive(run, cell_id="c1")).namelist() == ["manifest.json", "plot.png"]


async def test_a_large_message_body_waits_for_its_reader(client: Client) -> None:
    store = HttpPayloadStore(client.stack.artifacts.url, key=client.stack.folder.secret("internal"))
    await store.open()
    body = os.urandom(3_000_000)
    try:
        reference = await store.put(body)
        assert await store.get(reference) == body
        store.drop(reference)
        store.drop(str(uuid4()))
        with pytest.raises(Unavailable):
            await store.get(str(uuid4()))
    finally:
        await store.close()
    keys = await client.objects.keys(claim_checks.FOLDER)
    assert not [key for key in keys if key.endswith(reference)]


async def test_a_list_over_the_bus_limit_arrives_all_the_same(client: Client, eventually: Eventually) -> None:
    run = uuid4()
    before = set(await client.objects.keys(claim_checks.FOLDER))
    entries = [entry(b"x", position=number, content="y" * 100_000) for number in range(30)]
    await client.seal(run, uuid4(), entries)  # itself over the limit
    assert [one.content for one in await client.listed(run)] == ["y" * 100_000] * 30

    async def nothing_of_it_is_left() -> bool:
        return set(await client.objects.keys(claim_checks.FOLDER)) <= before

    await eventually(nothing_of_it_is_left)


async def test_a_deleted_notebook_leaves_nothing_and_takes_nothing_more(client: Client, eventually: Eventually) -> None:
    notebook, runs = uuid4(), [uuid4(), uuid4()]
    for run in runs:
        await client.seal(run, notebook, [await client.stored(run, "a", b"x"), entry(b"inline")])
    kept, other = uuid4(), uuid4()
    await client.seal(kept, other, [await client.stored(kept, "a", b"x")])
    channel = await client.broker.consumer_channel(prefetch=10)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind("atelier.events", f"artifacts.purged.{client.scope.tenant_id}.#")

    fact = notebook_deleted(client.scope, notebook)
    await client.hear(fact)
    await client.hear(fact)  # a fact may come twice
    marker = ExecutionPurged(scope=client.scope, execution_id=uuid4(), notebook_id=other)
    await client.hear(marker)  # handled after both

    heard = []
    async with asyncio.timeout(20), queue.iterator(no_ack=True) as messages:
        async for message in messages:
            heard.append(json.loads(message.body)["data"])
            if len(heard) == 2:
                break
    assert heard[0] == {"notebookId": str(notebook), "executionId": None, "objectCount": 2}
    assert heard[1]["executionId"] == str(marker.execution_id)
    assert await client.keys() == [model.epoch_prefix(client.scope, kept, 1) + "a"]
    assert await client.listed(runs[0]) == []
    with pytest.raises(Conflict):
        await client.seal(uuid4(), notebook, [])
    assert len(await client.listed(kept)) == 1
    await channel.close()


async def test_a_purged_run_is_gone_and_its_sisters_stay(client: Client, eventually: Eventually) -> None:
    notebook, gone, kept = uuid4(), uuid4(), uuid4()
    for run in (gone, kept):
        await client.seal(run, notebook, [await client.stored(run, "a", b"x")])
    await client.hear(ExecutionPurged(scope=client.scope, execution_id=gone, notebook_id=notebook))

    async def is_purged() -> bool:
        return await client.listed(gone) == []

    await eventually(is_purged)
    assert await client.keys() == [model.epoch_prefix(client.scope, kept, 1) + "a"]
    with pytest.raises(Conflict):
        await client.seal(gone, notebook, [])


async def test_killed_in_the_middle_of_a_purge_it_is_finished_after_the_start(
    client: Client, eventually: Eventually
) -> None:
    notebook, run = uuid4(), uuid4()
    entries = [await client.stored(run, f"{number:04}", b"x") for number in range(300)]
    await client.seal(run, notebook, entries)
    # Without its store the purge stands still after the tombstone, so that the kill comes in its middle.
    await asyncio.to_thread(client.stack.object_store.stop)
    try:
        await client.hear(notebook_deleted(client.scope, notebook))

        async def is_buried() -> bool:
            return bool(await client.sql("SELECT count(*) FROM tombstone WHERE id = $1", notebook))

        await eventually(is_buried)
        await asyncio.to_thread(client.stack.artifacts.kill)
        assert await client.sql("SELECT count(*) FROM artifact WHERE execution_id = $1", run) == 300
    finally:
        await asyncio.to_thread(client.stack.object_store.start)
        await asyncio.to_thread(client.stack.artifacts.start)

    async def is_purged() -> bool:
        return await client.sql("SELECT purged_at FROM tombstone WHERE id = $1", notebook) is not None

    await eventually(is_purged)
    assert await client.keys() == []
    assert await client.sql("SELECT count(*) FROM artifact WHERE execution_id = $1", run) == 0


@pytest.fixture
async def removals(client: Client) -> AsyncIterator[Removals]:
    """The removal queue, worked by hand."""
    database = Database(client.stack.role_dsn("artifacts"), schema="artifacts")
    await database.open()
    yield Removals(database, client.objects)
    await database.close()


async def test_what_a_dead_process_was_uploading_is_removed_and_what_a_live_one_is_not(
    client: Client, removals: Removals
) -> None:
    folder = f"{client.scope.tenant_id}/{client.scope.project_id}"
    dead, live, fresh = (f"{folder}/{name}" for name in ("1-dead", "2-live", "3-fresh"))
    alive = await client.sql("SELECT owner FROM process_lease WHERE expires_at > now() LIMIT 1")
    for key, owner, age_s in ((dead, uuid4(), 3600), (live, alive, 3600), (fresh, uuid4(), 0)):
        await client.objects.put(key, b"half", "application/octet-stream")
        statement = "INSERT INTO unsealed_object VALUES ($1, $2, now() - $3 * interval '1 s') RETURNING object_key"
        await client.sql(statement, key, owner, age_s)
    await removals.sweep(datetime.now(UTC))
    queued = await client.sql("SELECT array_agg(prefix) FROM removal WHERE prefix LIKE $1", f"{folder}%")
    assert queued == [dead]  # not yet due: its process may only have been cut off
    await client.sql("UPDATE removal SET due_at = now() WHERE prefix = $1", dead)
    await removals.work_off()
    assert sorted(await client.keys()) == [live, fresh]


async def test_large_message_bodies_that_nobody_dropped_are_swept_in_time(client: Client, removals: Removals) -> None:
    now = datetime.now(UTC)
    keys = [f"{claim_checks.day_folder(now - timedelta(days=age))}{uuid4()}" for age in range(2)]
    for key in keys:
        await client.objects.put(key, b"x", "application/octet-stream")
    store = HttpPayloadStore(client.stack.artifacts.url, key=client.stack.folder.secret("internal"))
    await store.open()
    try:
        assert await store.get(keys[1].rpartition("/")[2]) == b"x"
    finally:
        await store.close()
    await removals.sweep(now)
    assert set(keys) <= set(await client.objects.keys(claim_checks.FOLDER))
    await removals.sweep(now + claim_checks.KEPT + timedelta(minutes=1))
    assert await client.objects.keys(claim_checks.FOLDER) == []


async def test_told_to_stop_it_finishes_and_ends_well(client: Client) -> None:
    pid = client.stack.artifacts.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)

    def wait_until_stopped() -> None:
        client.stack.artifacts.stop()

    await asyncio.to_thread(wait_until_stopped)
    await asyncio.to_thread(client.stack.artifacts.start)
    run = uuid4()
    await client.seal(run, uuid4(), [entry(b"x")])
    assert len(await client.listed(run)) == 1


async def test_pandas_never_comes_into_the_process(client: Client) -> None:
    await client.upload(b"case_id,activity\n1,a\n")
    maps = Path(f"/proc/{client.stack.artifacts.pid}/maps")
    loaded = await asyncio.to_thread(maps.read_text, encoding="utf-8")
    assert "pyarrow" in loaded
    assert "pandas" not in loaded
