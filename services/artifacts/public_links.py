"""Links that lead straight to the object store, where it can be reached from outside: signed, and to be saved.

The store is an origin of its own, which serves nothing but such files, and each link makes it answer with an
`attachment` disposition: what a notebook produced cannot act in the name of the API there. A store can send neither
`nosniff` nor a content policy, so a link also names no media type that a browser might run or look into.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from minio import Minio

from services.artifacts.headers import disposition
from shared.contracts.results import ArtifactEntry
from shared.settings import ObjectStoreSettings

INERT_TYPES = frozenset(
    {
        "application/gzip",
        "application/json",
        "application/vnd.apache.parquet",
        "application/zip",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
    }
)
"""Media types without script in any browser; whatever else a notebook claims is just bytes."""

BYTES = "application/octet-stream"

LIFE = timedelta(minutes=15)
"""How long a link works (SPEC.md: Results)."""


class PublicLinks:
    """Signs links; asks nobody: the region is known."""

    def __init__(self, store: ObjectStoreSettings, endpoint: str) -> None:
        address = urlsplit(endpoint)
        self._bucket = store.bucket
        self._client = Minio(
            address.netloc,
            access_key=store.access_key,
            secret_key=store.secret_key.get_secret_value(),
            secure=address.scheme == "https",
            region=store.region,
        )

    def on(self, entries: Sequence[ArtifactEntry], now: datetime) -> list[ArtifactEntry]:
        """The artifacts with their links, good from now on. Takes a tenth of a second for a page: not for the loop."""
        return [entry.model_copy(update={"public_url": self.of(entry, now)}) for entry in entries]

    def of(self, entry: ArtifactEntry, now: datetime) -> str | None:
        """The link of an artifact; None when its bytes are not in the object store."""
        if entry.object_key is None:
            return None
        return self._client.presigned_get_object(
            self._bucket,
            entry.object_key,
            expires=LIFE,
            response_headers={
                "response-content-disposition": disposition(entry.file_name),
                "response-content-type": entry.content_type if entry.content_type in INERT_TYPES else BYTES,
            },
            request_date=now,
        )
