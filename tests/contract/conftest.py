"""The object stores that the same tests run against: the fake and the real adapter on a real S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from deploy.local import S3Access
from shared.objects import S3ObjectStore
from shared.settings import ObjectStoreSettings
from tests.contract.memory_object_store import MemoryObjectStore
from tests.support.stacks import private_stack

Store = MemoryObjectStore | S3ObjectStore


@pytest.fixture(scope="session")
def s3_access() -> Iterator[S3Access]:
    """A private S3 server."""
    with private_stack(only=["s3"]) as stack:
        yield stack.s3


def settings_for(access: S3Access, bucket: str) -> ObjectStoreSettings:
    """Settings of a store in a bucket of its own."""
    return ObjectStoreSettings(
        endpoint=access.endpoint,
        access_key=access.access_key,
        secret_key=SecretStr(access.secret_key),
        bucket=bucket,
        region=access.region,
    )


@pytest.fixture(params=["memory", "s3"])
async def objects(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty object store, once of each sort."""
    store: Store = (
        MemoryObjectStore()
        if request.param == "memory"
        else S3ObjectStore(settings_for(request.getfixturevalue("s3_access"), "contract"))
    )
    await store.open()
    await store.remove(await store.keys(""))
    yield store
    await store.close()
