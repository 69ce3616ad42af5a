"""Outputs of a run gathered into objects of some megabytes: a request a pack, to store them and to read them again."""

from __future__ import annotations

from uuid import uuid4

from shared.contracts.results import Packed
from shared.objects import ObjectStore

PACKED_BYTES = 1024 * 1024
"""Outputs up to this size are packed; beyond, what a request costs is little beside the bytes."""

PACK_BYTES = 8 * 1024 * 1024
"""A pack is stored before it grows over this size: as much of a run is in memory until then, in bytes."""


class Packs:
    """The packs of one run and epoch, under its prefix. What was added is safe only once it is stored."""

    def __init__(self, prefix: str, objects: ObjectStore) -> None:
        self._prefix = prefix
        self._objects = objects
        self._full: list[tuple[str, bytes]] = []
        self._begin()

    async def add(self, body: bytes) -> Packed:
        """Take some bytes, and tell where they will be. Raises Unavailable, and has not taken them then."""
        if self._size + len(body) > PACK_BYTES:
            await self.store()
        place = Packed(object_key=self._key, offset=self._size)
        self._parts.append(body)
        self._size += len(body)
        return place

    async def store(self) -> None:
        """Store what was added. Safe to repeat after a failure; raises Unavailable."""
        if self._parts:
            # Closed before the first attempt: one that was given up may still end, after a later one, and must not
            # leave less under the key than that.
            self._full.append((self._key, b"".join(self._parts)))
            self._begin()
        while self._full:
            key, body = self._full[0]
            await self._objects.put(key, body, "application/octet-stream")
            self._full.pop(0)

    def _begin(self) -> None:
        self._key = f"{self._prefix}/{uuid4()}"
        self._parts: list[bytes] = []
        self._size = 0
