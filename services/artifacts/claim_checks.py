"""Large message bodies that wait for their reader (DESIGN.md decision 3), without any row.

Whoever sent one or has read one drops it; what a killed process left is swept some minutes later.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.errors import NotFound
from shared.objects import ObjectStore

FOLDER = "payloads/"
"""Above all tenants' folders, which are named by GUIDs."""

MAX_PAYLOAD_BYTES = 256 * 1024 * 1024
"""The largest message body, in bytes: it passes through memory whole, here and at its reader's."""


KEPT = timedelta(minutes=10)
"""How long a body is kept that nobody drops: far longer than any request waits for its reply."""


def day_folder(moment: datetime) -> str:
    """Where bodies of that day are kept."""
    return f"{FOLDER}{moment.astimezone(UTC):%Y-%m-%d}/"


async def keep(objects: ObjectStore, reference: UUID, body: bytes) -> None:
    """Store a body under its reference."""
    await objects.put(f"{day_folder(datetime.now(UTC))}{reference}", body, "application/octet-stream")


async def fetch(objects: ObjectStore, reference: UUID) -> bytes:
    """The body behind a reference; raises NotFound."""
    today, yesterday = _keys(reference)
    try:
        return await objects.get(today)
    except NotFound:
        return await objects.get(yesterday)


async def drop(objects: ObjectStore, reference: UUID) -> None:
    """Remove a body, if there is one."""
    await objects.remove(_keys(reference))


async def left_behind(objects: ObjectStore, now: datetime) -> list[str]:
    """The bodies that nobody dropped in time."""
    return [each.key for each in await objects.listing(FOLDER) if now - each.modified_at > KEPT]


def _keys(reference: UUID) -> list[str]:
    """Where a body may be: around midnight it was kept yesterday."""
    now = datetime.now(UTC)
    return [f"{day_folder(now - timedelta(days=age))}{reference}" for age in (0, 1)]
