"""Large replies in the object store: there after a write, the same when asked again, gone with their notebook."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from pydantic import SecretStr

from deploy.local import Stack
from services.artifacts import kept_replies
from shared.objects import S3ObjectStore
from shared.settings import ObjectStoreSettings
from tests.support.api import Api


async def test_a_large_answer_is_kept_with_its_notebook_and_no_longer(stack: Stack, api: Api) -> None:
    body = {"notebookName": "n", "initialCells": [{"cellType": "code", "content": "# " + "x" * 300_000}]}
    answers = [await api.post("notebook", json=body, headers={"Idempotency-Key": "large"}) for _ in range(3)]
    assert [status for status, _, _ in answers] == [201] * 3
    made: dict[str, Any] = answers[0][1]
    assert [answer for _, answer, _ in answers] == [made] * 3
    database = await asyncpg.connect(stack.postgres_dsn)
    objects = store(stack)
    await objects.open()
    try:
        largest = "SELECT max(octet_length(reply)) FROM catalog.command_log WHERE subject = $1"
        assert await database.fetchval(largest, made["notebookId"]) < 1_000
        prefix = f"replies/{made['notebookId']}/"
        assert len(await objects.keys(prefix)) == 1
        now = datetime.now(UTC)
        assert not [key for key in await kept_replies.too_old(objects, now) if key.startswith(prefix)]
        late = now + kept_replies.KEPT + timedelta(seconds=1)
        assert [key for key in await kept_replies.too_old(objects, late) if key.startswith(prefix)]
        assert (await api.delete(f"notebook/{made['notebookId']}"))[0] == 204
        async with asyncio.timeout(30):
            while await objects.keys(prefix):
                await asyncio.sleep(0.05)
        assert (await api.post("notebook", json=body, headers={"Idempotency-Key": "large"}))[0] == 404
    finally:
        await objects.close()
        await database.close()


def store(stack: Stack) -> S3ObjectStore:
    """The stack's object store."""
    access = stack.s3
    return S3ObjectStore(
        ObjectStoreSettings(
            endpoint=access.endpoint,
            access_key=access.access_key,
            secret_key=SecretStr(access.secret_key),
            bucket=access.bucket,
            region=access.region,
        )
    )
