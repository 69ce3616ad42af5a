"""What every object store promises; the fake and the S3 adapter answer alike."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from deploy.local import S3Access
from shared.errors import NotFound, Unavailable
from shared.objects import PART_BYTES, ObjectStore, S3ObjectStore
from tests.contract.conftest import settings_for

ODD_KEY = "tenant/project/run/1/plot +ü&=%20.png"
BINARY = "application/octet-stream"


async def test_bytes_come_back_as_they_were_put(objects: ObjectStore) -> None:
    await objects.put(ODD_KEY, b"\x00\xffdata", BINARY)
    assert await objects.get(ODD_KEY) == b"\x00\xffdata"


async def test_an_empty_object_is_an_object(objects: ObjectStore) -> None:
    await objects.put("a/empty", b"", BINARY)
    assert await objects.get("a/empty") == b""
    assert await objects.keys("a/") == ["a/empty"]


async def test_a_range_is_a_part_of_the_bytes(objects: ObjectStore) -> None:
    await objects.put("a/range", b"0123456789", BINARY)
    assert await objects.get_range("a/range", 2, 3) == b"234"
    assert await objects.get_range("a/range", 8, 9) == b"89"
    with pytest.raises(NotFound):
        await objects.get_range("a/none", 0, 1)


async def test_a_listing_tells_when_an_object_was_stored(objects: ObjectStore) -> None:
    await objects.put("listed/x", b"one", BINARY)
    (found,) = await objects.listing("listed/")
    assert found.key == "listed/x"
    assert abs((datetime.now(UTC) - found.modified_at).total_seconds()) < 3600


async def test_a_second_put_replaces_the_first(objects: ObjectStore) -> None:
    await objects.put("a/x", b"one", BINARY)
    await objects.put("a/x", b"second", BINARY)
    assert await objects.get("a/x") == b"second"


async def test_an_upload_that_was_never_completed_is_found_and_aborted(s3_access: S3Access) -> None:
    store = S3ObjectStore(settings_for(s3_access, "uploads"))
    await store.open()
    assert await store.open_uploads() == []
    begun = {(key, store._client._create_multipart_upload("uploads", key, {})) for key in ("a/x", "a/x", "b/y")}
    found = await store.open_uploads()
    assert {(each.key, each.upload_id) for each in found} == begun
    assert all(abs((datetime.now(UTC) - each.begun_at).total_seconds()) < 3600 for each in found)
    for upload in found:
        await store.abort(upload)
        await store.abort(upload)  # gone already
    assert await store.open_uploads() == []
    await store.close()


async def test_a_file_of_several_parts_travels_both_ways(objects: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(PART_BYTES + 12345))
    await objects.put_file("a/large", source, BINARY)
    await objects.get_file("a/large", target)
    assert target.read_bytes() == source.read_bytes()


async def test_an_unknown_key_is_not_found(objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await objects.get("a/unknown")
    with pytest.raises(NotFound):
        await objects.get_file("a/unknown", tmp_path / "target")
    assert not (tmp_path / "target").exists()


async def test_keys_lists_what_is_under_a_prefix_at_any_depth(objects: ObjectStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        await objects.put(key, b"x", BINARY)
    assert sorted(await objects.keys("a/")) == ["a/1", "a/b/2"]
    assert await objects.keys("nothing/") == []


async def test_more_keys_than_one_listing_page_holds_are_all_listed_and_removed(objects: ObjectStore) -> None:
    wanted = [f"many/{number:04}" for number in range(1_050)]  # S3 lists and removes 1,000 at a time
    for key in wanted:
        await objects.put(key, b"", BINARY)
    assert sorted(await objects.keys("many/")) == wanted
    await objects.remove(wanted)
    assert await objects.keys("many/") == []


async def test_removing_what_is_not_there_does_not_matter(objects: ObjectStore) -> None:
    await objects.put("a/x", b"x", BINARY)
    await objects.remove(["a/x", "a/never-was"])
    await objects.remove([])
    assert await objects.keys("a/") == []


async def test_a_url_serves_the_bytes_without_credentials_and_by_range(objects: ObjectStore) -> None:
    await objects.put(ODD_KEY, b"0123456789", "image/png")
    url = URL(await objects.url(ODD_KEY), encoded=True)
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            assert (answer.status, await answer.read()) == (200, b"0123456789")
            assert answer.content_type == "image/png"
        async with session.get(url, headers={"Range": "bytes=2-4"}) as answer:
            assert await answer.read() == b"234"
            assert answer.headers["Content-Range"] == "bytes 2-4/10"


async def test_a_url_of_nothing_is_404(objects: ObjectStore) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(await objects.url("a/unknown"), encoded=True)) as answer,
    ):
        assert answer.status == 404


async def test_check_is_silent_while_the_store_answers(objects: ObjectStore) -> None:
    await objects.check()


async def test_a_store_that_is_down_is_unavailable(s3_access: S3Access) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        store = S3ObjectStore(settings_for(s3_access, "contract").model_copy(update={"endpoint": endpoint}))
        for call in (store.get("a"), store.put("a", b"", BINARY), store.keys("a"), store.remove(["a"]), store.check()):
            with pytest.raises(Unavailable):
                await call
        await store.close()


async def test_wrong_keys_are_unavailable_and_tell_no_secret(s3_access: S3Access) -> None:
    settings = settings_for(s3_access, "contract").model_copy(update={"access_key": "somebody"})
    store = S3ObjectStore(settings)
    with pytest.raises(Unavailable) as refusal:
        await store.get("a")
    assert s3_access.secret_key not in refusal.value.detail
    await store.close()
