"""Replies that are kept for repeated commands go after a day, in chunks."""

from __future__ import annotations

from uuid import uuid4

from shared.outbox import SWEEP_CHUNK, Outbox
from tests.integration.catalog.conftest import Bench


async def test_old_replies_go_chunk_by_chunk_and_young_ones_stay(bench: Bench) -> None:
    outbox = bench.app.database.outbox
    assert isinstance(outbox, Outbox)
    young, key = uuid4(), str(uuid4())
    insert = (
        "INSERT INTO command_log (command_id, fingerprint, reply, committed_at) "
        "SELECT gen_random_uuid(), $1, '', clock_timestamp() - interval '25 hours' FROM generate_series(1, $2::int)"
    )
    count = "SELECT count(*) FROM command_log WHERE fingerprint = $1"
    async with bench.app.database.connection() as connection:
        await connection.execute("DELETE FROM command_log WHERE committed_at < clock_timestamp() - interval '24 hours'")
        await connection.execute(
            "INSERT INTO command_log (command_id, fingerprint, reply) VALUES ($1, $2, '')", young, key
        )
        await connection.execute(insert, key, SWEEP_CHUNK + 5)
        assert await outbox._sweep_command_log()
        assert await connection.fetchval(count, key) == 6
        assert not await outbox._sweep_command_log()
        assert await connection.fetchval(count, key) == 1
