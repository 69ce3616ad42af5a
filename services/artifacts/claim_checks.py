"""Large message bodies that wait for their reader (DESIGN.md decision 3): kept one to two days, without any row.

The folder is named after the day, so that reading needs no index and sweeping no clock but ours.
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


def day_folder(moment: datetime) -> str:
    """Where bodies of that day are kept."""
    return f"{FOLDER}{moment.astimezone(UTC):%Y-%m-%d}/"


async def keep(objects: ObjectStore, reference: UUID, body: bytes) -> None:
    """Store a body under its reference."""
    await objects.put(f"{day_folder(datetime.now(UTC))}{reference}", body, "application/octet-stream")


async def fetch(objects: ObjectStore, reference: UUID) -> bytes:
    """The body behind a reference; raises NotFound."""
    now = datetime.now(UTC)
    try:
        return await objects.get(f"{day_folder(now)}{reference}")
    except NotFound:
        return await objects.get(f"{day_folder(now - timedelta(days=1))}{reference}")
