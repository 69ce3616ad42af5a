"""Replies over 64 kB are kept outside the command log, and are answered again to who asks again."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.command_log import INLINE_BYTES
from shared.contracts.base import Idempotency
from shared.contracts.notebooks import CellDraft, CreateNotebook, NotebookDraft
from shared.errors import OutcomeUnknown, Unavailable
from shared.payloads import BUS_BODY_LIMIT
from tests.integration.catalog.conftest import Bench


class Kept:
    """A store for replies, in memory."""

    def __init__(self) -> None:
        self.replies: dict[str, bytes] = {}
        self.is_away = False

    async def keep(self, data: bytes, *, owner: UUID | None, subject: UUID | None) -> str:
        if self.is_away:
            raise Unavailable("The store is away.")
        reference = f"{owner}/{subject}/{len(self.replies)}"
        self.replies[reference] = data
        return reference

    async def recall(self, reference: str) -> bytes:
        if self.is_away or reference not in self.replies:
            raise Unavailable("The store is away.")
        return self.replies[reference]


@pytest.fixture
def kept(bench: Bench) -> Kept:
    """Where the bench keeps large replies."""
    bench.kept = kept = Kept()
    return kept


async def create(bench: Bench, size: int, key: str | None = None, command_id: UUID | None = None) -> Any:
    draft = NotebookDraft(notebook_name="n", initial_cells=[CellDraft(cell_type="code", content="x" * size)])
    idempotency = Idempotency(key=key, route="r", fingerprint="f") if key else None
    return await bench.ask(CreateNotebook, idempotency=idempotency, command_id=command_id, draft=draft)


async def logged(connection: asyncpg.Connection, notebook_id: UUID) -> list[int]:
    """The sizes of a notebook's replies in the log."""
    rows = await connection.fetch("SELECT octet_length(reply) AS size FROM command_log WHERE subject = $1", notebook_id)
    return [row["size"] for row in rows]


@pytest.mark.parametrize("size", [INLINE_BYTES, 3 * BUS_BODY_LIMIT // 2])
async def test_a_large_reply_is_kept_by_reference_and_answered_again(
    bench: Bench, kept: Kept, connection: asyncpg.Connection, size: int
) -> None:
    key, command_id = uuid4().hex, uuid4()
    made = await create(bench, size, key, command_id)
    (reference,) = kept.replies
    assert reference.startswith(f"{made.notebook_id}/{made.notebook_id}/")
    assert all(length < 300 for length in await logged(connection, made.notebook_id))
    assert await create(bench, size, key) == made  # by its key
    assert await create(bench, size, None, command_id) == made  # by its id
    assert len(kept.replies) == 1


async def test_a_small_reply_stays_in_the_log(bench: Bench, kept: Kept, connection: asyncpg.Connection) -> None:
    made = await create(bench, INLINE_BYTES - 4_096)
    assert kept.replies == {}
    assert await logged(connection, made.notebook_id) > [INLINE_BYTES - 4_096]


async def test_without_the_store_the_log_takes_what_the_bus_takes(
    bench: Bench, kept: Kept, connection: asyncpg.Connection
) -> None:
    kept.is_away = True
    key = uuid4().hex
    made = await create(bench, 2 * INLINE_BYTES, key)
    assert await logged(connection, made.notebook_id) > [2 * INLINE_BYTES]
    assert await create(bench, 2 * INLINE_BYTES, key) == made


async def test_a_reply_that_could_not_be_sent_has_no_effect(
    bench: Bench, kept: Kept, connection: asyncpg.Connection
) -> None:
    kept.is_away = True
    key = uuid4().hex
    with pytest.raises(Unavailable):
        await create(bench, 3 * BUS_BODY_LIMIT // 2, key)
    count = "SELECT count(*) FROM notebook WHERE tenant_id = $1"
    assert await connection.fetchval(count, bench.scope.tenant_id) == 0
    kept.is_away = False
    assert (await create(bench, 3 * BUS_BODY_LIMIT // 2, key)).notebook_id


async def test_an_answer_that_cannot_be_read_again_is_said_to_be_unknown(bench: Bench, kept: Kept) -> None:
    key = uuid4().hex
    await create(bench, 2 * INLINE_BYTES, key)
    kept.is_away = True
    with pytest.raises(OutcomeUnknown):
        await create(bench, 2 * INLINE_BYTES, key)
