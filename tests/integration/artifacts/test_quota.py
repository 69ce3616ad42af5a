"""A project's quota: uploads beyond it are refused in words, those of other projects are not."""

from __future__ import annotations

import pytest

from services.artifacts import storage
from services.artifacts.settings import ArtifactsSettings
from shared.contracts.base import Scope
from shared.contracts.storage import MeasureStorage, StorageUse
from shared.database import Database
from shared.errors import TooLarge
from tests.integration.artifacts.client import Client

LOG = b"case_id,activity,timestamp\n1,Register,2020-01-01T10:00:00Z\n"


class Quota:
    """As much of the service as the quota needs."""

    def __init__(self, database: Database, project_max_bytes: int | None) -> None:
        self.database = database
        self.settings = ArtifactsSettings.model_construct(project_max_bytes=project_max_bytes)


async def test_what_a_project_stores_is_added_up_and_bounded(client: Client) -> None:
    empty: StorageUse = await client.ask(MeasureStorage)
    assert (empty.total_bytes, empty.quota_bytes) == (0, None)
    first = await client.upload(LOG, dataset_name="one")
    use: StorageUse = await client.ask(MeasureStorage)
    assert use.dataset_bytes == use.total_bytes == first.size_bytes

    database = Database(client.stack.postgres.dsn, schema="artifacts")
    await database.open()
    try:
        full = Quota(database, first.size_bytes)
        with pytest.raises(TooLarge, match="storage is used up"):
            await storage.require_room(full, client.scope)  # type: ignore[arg-type]
        await storage.require_room(full, Scope(tenant_id=client.scope.tenant_id, project_id=first.dataset_id))  # type: ignore[arg-type]
        await storage.require_room(Quota(database, first.size_bytes + 1), client.scope)  # type: ignore[arg-type]
        await storage.require_room(Quota(database, None), client.scope)  # type: ignore[arg-type]
        # Of an upload whose size is known all of it has to fit.
        roomy = Quota(database, first.size_bytes + 10)
        await storage.require_room(roomy, client.scope, wanted_bytes=10)  # type: ignore[arg-type]
        with pytest.raises(TooLarge, match="this needs 11 more"):
            await storage.require_room(roomy, client.scope, wanted_bytes=11)  # type: ignore[arg-type]
    finally:
        await database.close()
