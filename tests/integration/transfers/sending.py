"""Senders as they come: bytes are written to a socket of one's own, so that a test says when which of them go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.api import Api

PATIENCE_S = 120.0
"""How long anything may take, in seconds."""

BOUNDARY = "frontier"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a sender is answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    problem: dict[str, Any]


class Sender:
    """One upload on one connection, whose body has no end unless somebody says so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Some more of the body; a chunk of no bytes would be its end."""
        if not data:
            return
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def end(self) -> None:
        """The end of the form and of the body."""
        await self.send(f"\r\n--{BOUNDARY}--\r\n".encode())
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def answer(self) -> Answer:
        """What comes back, while nothing more is sent."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(status=int(first.split()[1]), headers=headers, problem=json.loads(body))

    async def answer_while_sending(self, piece: bytes) -> Answer:
        """What comes back while the same piece is sent over and over; the connection must stay open that long."""
        answering = asyncio.create_task(self.answer())
        while not answering.done():
            await self.send(piece)
            await asyncio.wait({answering}, timeout=0)
        return await answering

    async def closed(self) -> None:
        """Return when the other side has closed the connection."""
        async with asyncio.timeout(PATIENCE_S):
            while await self._reader.read(1 << 16):
                continue


@asynccontextmanager
async def sender(api: Api, *, name: str = "refused", path: str = "dataset") -> AsyncIterator[Sender]:
    """A form whose file has begun: what is sent next is the file."""
    address = urlsplit(api.url(path))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {api.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode())
    form = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="datasetName"\r\n\r\n{name}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="log.csv"\r\n\r\n'
    )
    one = Sender(reader, writer)
    try:
        await one.send(form.encode())
        yield one
    finally:
        writer.transport.abort()


async def stored(api: Api) -> set[str]:
    """The names of the project's datasets."""
    status, page, _ = await api.get("datasets", params={"pageSize": "100"})
    assert status == 200, page
    return {item["datasetName"] for item in page["items"]}
