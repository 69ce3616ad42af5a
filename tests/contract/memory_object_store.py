"""An object store in memory for tests without a server; keeps the promises of shared.objects.ObjectStore."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.errors import NotFound
from shared.objects import OpenUpload, StoredObject


class MemoryObjectStore:
    """See shared.objects.ObjectStore. Its URLs are served by a small server on loopback."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self._server: TestServer | None = None

    async def open(self) -> None:
        """Start serving URLs."""
        app = web.Application()
        app.router.add_get("/{key:.*}", self._serve)
        self._server = TestServer(app)
        await self._server.start_server()

    async def close(self) -> None:
        """Stop serving URLs."""
        if self._server is not None:
            await self._server.close()

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """See ObjectStore."""
        self.objects[key] = (data, content_type)

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        """See ObjectStore."""
        self.objects[key] = (await asyncio.to_thread(path.read_bytes), content_type)

    async def get(self, key: str) -> bytes:
        """See ObjectStore."""
        try:
            return self.objects[key][0]
        except KeyError as error:
            raise NotFound("The object is gone.") from error

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See ObjectStore."""
        return (await self.get(key))[start : start + length]

    async def get_file(self, key: str, path: Path) -> None:
        """See ObjectStore."""
        await asyncio.to_thread(path.write_bytes, await self.get(key))

    async def url(self, key: str) -> str:
        """See ObjectStore."""
        assert self._server is not None, "open() comes first"
        return str(self._server.make_url("/")) + quote(key)

    async def keys(self, prefix: str) -> list[str]:
        """See ObjectStore."""
        return sorted(key for key in self.objects if key.startswith(prefix))

    async def listing(self, prefix: str) -> list[StoredObject]:
        """See ObjectStore."""
        return [StoredObject(key, datetime.now(UTC)) for key in await self.keys(prefix)]

    async def remove(self, keys: list[str]) -> None:
        """See ObjectStore."""
        for key in keys:
            self.objects.pop(key, None)

    async def open_uploads(self) -> list[OpenUpload]:
        """See ObjectStore: everything is stored in one piece here."""
        return []

    async def abort(self, upload: OpenUpload) -> None:
        """See ObjectStore."""

    async def check(self) -> None:
        """See ObjectStore."""

    async def _serve(self, request: web.Request) -> web.Response:
        found = self.objects.get(request.match_info["key"])
        if found is None:
            return web.Response(status=404)
        data, content_type = found
        asked = request.http_range
        if asked.start is None and asked.stop is None:
            return web.Response(body=data, content_type=content_type)
        start, stop, _ = asked.indices(len(data))
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        return web.Response(status=206, body=data[start:stop], content_type=content_type, headers=headers)
