"""Outputs are packed so that each is found at its place, whatever fails in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import pytest

from services.executor.collecting import registering
from services.executor.collecting.artifact_writer import INLINE_BYTES, ArtifactWriter, RunIdentity
from services.executor.collecting.packs import PACK_BYTES, PACKED_BYTES, Packs
from shared.contracts.base import Caller, Scope
from shared.contracts.results import ArtifactEntry
from shared.errors import Invalid, Unavailable


class Store:
    """Keeps what is put; fails as often as it is told to."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.tried: list[tuple[str, bytes]] = []
        self.failures = 0

    async def put(self, key: str, data: bytes, _content_type: str) -> None:
        self.tried.append((key, data))
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        self.kept[key] = data

    def at(self, entry: ArtifactEntry) -> bytes:
        assert entry.pack is not None
        return self.kept[entry.pack.object_key][entry.pack.offset :][: entry.size_bytes]


def identity() -> RunIdentity:
    return RunIdentity(
        scope=Scope(tenant_id=uuid4(), project_id=uuid4()),
        caller=Caller(subject="test"),
        execution_id=uuid4(),
        notebook_id=uuid4(),
        epoch=3,
        output_format="none",
        notebook_name="n",
    )


def writer(store: Store) -> ArtifactWriter:
    objects: Any = store
    return ArtifactWriter(identity(), objects)


def body(number: int, size: int = 500_000) -> bytes:
    return bytes([number]) * size


async def add(to: ArtifactWriter, data: bytes) -> None:
    await to.add_output("output", "x", "x.txt", "text/plain", data)


async def test_outputs_are_found_in_few_objects_under_the_epoch() -> None:
    store = Store()
    run = writer(store)
    bodies = [body(number) for number in range(40)]
    for each in bodies:
        await add(run, each)
    await run.store_packs()
    assert [store.at(entry) for entry in run.entries] == bodies
    assert len(store.kept) == 3
    assert max(map(len, store.kept.values())) <= PACK_BYTES
    assert all("/3/" in key for key in store.kept)


@pytest.mark.parametrize(("size", "place"), [(INLINE_BYTES, "inline"), (PACKED_BYTES + 1, "object_key")])
async def test_smaller_and_larger_ones_are_kept_as_before(size: int, place: str) -> None:
    store = Store()
    run = writer(store)
    await add(run, body(1, size))
    (entry,) = run.entries
    assert getattr(entry, place) is not None
    assert entry.pack is None
    assert len(store.kept) == (place == "object_key")


async def test_a_store_that_fails_leaves_every_output_at_its_place() -> None:
    store = Store()
    run = writer(store)
    for number in range(16):
        await add(run, body(number))
    store.failures = 1
    with pytest.raises(Unavailable):
        await add(run, body(16))
    assert len(run.entries) == 16
    await add(run, body(16))
    store.failures = 1
    with pytest.raises(Unavailable):
        await run.store_packs()
    await add(run, body(17))
    await run.store_packs()
    assert [store.at(entry) for entry in run.entries] == [body(number) for number in range(18)]


async def test_what_is_tried_under_one_key_is_always_the_same() -> None:
    store = Store()
    objects: Any = store
    packs = Packs("prefix", objects)
    await packs.add(b"first")
    store.failures = 1
    with pytest.raises(Unavailable):
        await packs.store()
    await packs.add(b"second")  # an attempt that was given up may still end, after the next one
    await packs.store()
    await packs.store()
    assert len({key for key, _ in store.tried}) == len(set(store.tried)) == 2


async def test_a_file_is_measured_as_its_bytes_are(tmp_path: Path) -> None:
    objects: Any = AsyncMock()
    run, path, data = ArtifactWriter(identity(), objects), tmp_path / "file", body(1, 3_000_000)
    path.write_bytes(data)
    await run.add_file("file", "x", "x", "text/plain", path)
    await run.add_bytes("value", "x", "x", "text/plain", data)
    file, value = run.entries
    assert (file.size_bytes, file.sha256, file.crc32) == (value.size_bytes, value.sha256, value.crc32)


async def test_artifacts_of_a_release_without_packs_are_asked_again() -> None:
    store = Store()
    run = writer(store)
    await add(run, body(1, INLINE_BYTES))
    requests = Mock(ask=AsyncMock(side_effect=Invalid("needs its bytes")))
    with pytest.raises(Invalid):
        await registering.seal(requests, identity(), run.entries, final=True)
    await add(run, body(2))
    with pytest.raises(Unavailable):
        await registering.seal(requests, identity(), run.entries, final=True)
