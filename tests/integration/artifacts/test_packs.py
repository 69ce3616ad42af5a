"""Artifacts that share an object: each is served as if it had one of its own, and the object goes when all do."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from uuid import uuid4

import aiohttp
import pytest

from shared.contracts.datasets import AdoptedArtifact, DatasetOrigin
from shared.contracts.execution_events import ExecutionPurged
from shared.contracts.results import ArtifactEntry
from shared.errors import Invalid
from tests.integration.artifacts.client import Client, entry

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def pack_key(one: ArtifactEntry) -> str:
    assert one.pack is not None
    return one.pack.object_key


async def test_the_archive_holds_the_same_as_single_downloads(client: Client) -> None:
    run = uuid4()
    packed = [*await client.packed(run, [os.urandom(40_000) for _ in range(60)])]
    packed += await client.packed(run, [os.urandom(500_000) for _ in range(5)], first=60)
    inline = [entry(os.urandom(100 * n), file_name=f"inline-{n}.bin", position=n) for n in range(50)]
    whole = [
        await client.stored(run, "small.bin", os.urandom(100_000), position=30),
        await client.stored(run, "large.bin", os.urandom(3_000_000), position=31),
    ]
    entries = [*packed, *inline, *whole]
    await client.seal(run, uuid4(), entries)
    archive = await client.archive(run)
    listed = json.loads(archive.read("manifest.json"))["artifacts"]
    assert len(listed) == len(entries)
    assert listed[0].keys().isdisjoint({"pack", "objectKey", "crc32"})
    expected = {str(one.artifact_id): one.sha256 for one in entries}
    for described in listed:
        in_zip = archive.read(described["path"])
        alone = await client.artifact(run, described["artifactId"])
        assert in_zip == alone.body
        assert sha256(in_zip) == described["sha256"] == expected[described["artifactId"]]


async def test_a_part_of_a_run_is_read_across_gaps(client: Client) -> None:
    run = uuid4()
    packed = await client.packed(run, [os.urandom(90_000) for _ in range(40)])
    chosen = [one.model_copy(update={"cell_id": "c1"}) if number % 7 == 3 else one for number, one in enumerate(packed)]
    await client.seal(run, uuid4(), chosen)
    archive = await client.archive(run, cell_id="c1")
    wanted = [one for one in chosen if one.cell_id == "c1"]
    assert archive.namelist() == ["manifest.json", *(one.file_name for one in wanted)]
    assert [sha256(archive.read(one.file_name)) for one in wanted] == [one.sha256 for one in wanted]


async def test_packs_whose_artifacts_take_turns_are_read_all_the_same(client: Client) -> None:
    run, count = uuid4(), 12
    packs = [await client.packed(run, [os.urandom(40_000) for _ in range(3)]) for _ in range(count)]
    turns = [
        one.model_copy(update={"position": turn * count + number, "file_name": f"{turn}-{number}"})
        for number, pack in enumerate(packs)
        for turn, one in enumerate(pack)
    ]
    await client.seal(run, uuid4(), turns)
    archive = await client.archive(run)
    assert {one.file_name: sha256(archive.read(one.file_name)) for one in turns} == {
        one.file_name: one.sha256 for one in turns
    }


async def test_a_pack_that_is_too_short_is_never_served(client: Client) -> None:
    run = uuid4()
    (one,) = await client.packed(run, [b"abc"])
    long = one.model_copy(update={"size_bytes": 4})
    lost = one.model_copy(
        update={
            "artifact_id": uuid4(),
            "pack": one.pack and one.pack.model_copy(update={"object_key": f"{pack_key(one)}x"}),
        }
    )
    await client.seal(run, uuid4(), [long, lost])
    assert (await client.artifact(run, long.artifact_id)).status == 503
    assert (await client.artifact(run, lost.artifact_id)).status == 404


@pytest.mark.parametrize("size", [100_000, 2_000_000])
async def test_an_archive_that_cannot_be_completed_is_broken_off(client: Client, size: int) -> None:
    run = uuid4()
    packed = await client.packed(run, [os.urandom(size), os.urandom(2_000_000), os.urandom(size)])
    await client.seal(run, uuid4(), packed)
    await client.objects.put(pack_key(packed[0]), os.urandom(size), "application/octet-stream")
    with pytest.raises(aiohttp.ClientError):
        await client.archive(run)


async def test_a_packed_result_becomes_a_dataset(client: Client) -> None:
    run = uuid4()
    log = b"case_id,activity,timestamp\n" + b"".join(b"%d,Register,2020-01-01T10:00:00Z\n" % n for n in range(2_000))
    packed = await client.packed(run, [os.urandom(50_000), log, os.urandom(50_000)])
    await client.seal(run, uuid4(), packed)
    origin = DatasetOrigin(
        execution_id=run,
        notebook_id=uuid4(),
        notebook_version="1.0.0",
        artifact_id=packed[1].artifact_id,
        artifact_name="log",
        dataset_id=None,
        dataset_name=None,
        dataset_version=None,
    )
    adopted = AdoptedArtifact(execution_id=run, epoch=1, artifact_id=packed[1].artifact_id, origin=origin)
    dataset = await client.upload(b"", artifact=adopted)
    assert dataset.record_count == 2_000
    assert (await client.data(dataset.dataset_id, "csv")).body == log


async def test_a_packed_artifact_has_no_link_to_the_store(client: Client) -> None:
    run = uuid4()
    (one,) = await client.packed(run, [os.urandom(40_000)])
    await client.seal(run, uuid4(), [one])
    (listed,) = await client.listed(run, with_links=True)
    assert listed.public_url is None


async def test_a_pack_of_another_epoch_is_refused(client: Client) -> None:
    run = uuid4()
    (one,) = await client.packed(uuid4(), [os.urandom(40_000)])
    with pytest.raises(Invalid):
        await client.seal(run, uuid4(), [one])


async def test_a_purged_run_takes_its_packs_with_it(client: Client, eventually: Eventually) -> None:
    notebook, gone, kept = uuid4(), uuid4(), uuid4()
    packs = {run: await client.packed(run, [os.urandom(40_000) for _ in range(3)]) for run in (gone, kept)}
    for run, packed in packs.items():
        await client.seal(run, notebook, packed)
    await client.hear(ExecutionPurged(scope=client.scope, execution_id=gone, notebook_id=notebook))

    async def is_purged() -> bool:
        return await client.listed(gone) == []

    await eventually(is_purged)
    assert await client.keys() == [pack_key(packs[kept][0])]
    assert (await client.artifact(kept, packs[kept][2].artifact_id)).status == 200
