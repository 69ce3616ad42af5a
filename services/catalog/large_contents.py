"""Reads of large notebooks: as many at a time as there is memory for, from the row to the reply that was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from services.catalog import store
from shared.byte_budget import ByteBudget

if TYPE_CHECKING:
    from uuid import UUID

    from services.catalog.app import Catalog
    from services.catalog.store import Reader
    from shared.contracts.base import Scope
    from shared.responder import Context

TOTAL_BYTES = 128 * 1024 * 1024
"""Contents of notebooks that may be in hand at a time, in bytes as stored; a read takes about five times its own."""

FREE_BYTES = 1024 * 1024
"""Contents up to this size are not counted, in bytes."""

WAIT_S = 2.5
"""How long a read waits for memory, in seconds: half of the time that its caller waits."""

T = TypeVar("T")


def budget() -> ByteBudget:
    """The memory of this process for large contents."""
    return ByteBudget(
        TOTAL_BYTES,
        free_bytes=FREE_BYTES,
        wait_s=WAIT_S,
        refusal="Too many large notebooks are being read at once; try again shortly.",
    )


async def read(
    app: Catalog,
    context: Context,
    scope: Scope,
    notebook_id: UUID,
    versions: Sequence[str | None],
    reading: Callable[[Reader], Awaitable[T]],
) -> T:
    """Return what `reading` gets from a connection, which are the contents of these versions (None: the present one).

    Memory for large ones is held until the reply has been sent. Raises Unavailable when there is none in time.
    """
    async with app.database.connection() as connection:
        size = await connection.fetchval(
            store.queries.content_size, notebook_id, scope.tenant_id, scope.project_id, list(versions)
        )
        if app.large_contents.is_free(size):
            return await reading(store.Outside(connection))
    await context.hold(app.large_contents.reserve(scope.tenant_id, size))
    async with app.database.connection() as connection:
        return await reading(store.Outside(connection))
