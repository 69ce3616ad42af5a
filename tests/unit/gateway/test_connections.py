"""Connections to the public port over real sockets: slow heads, idle ones, and too many from one address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.gateway import connections
from services.gateway.server import PublicServer
from tests.unit.gateway.fake_ports import Api

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def port(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    settings = api.gateway.settings.model_copy(update={"connections_per_address": 3})
    server = PublicServer(replace(api.gateway, settings=settings), announce_close=lambda: None)
    await server.open()
    yield server.port
    await server.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed, however that is."""
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""


async def test_a_head_that_does_not_come_ends_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST[:-5])
    assert await ended(reader) == b""
    writer.close()


async def test_so_does_the_head_of_a_second_request(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.write(REQUEST[:-5])
    assert b"HTTP/1.1" not in await ended(reader)
    writer.close()


async def test_an_address_holds_so_many_connections_and_no_more(port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await ended(reader) == b""
    writer.close()
    held[0][1].close()
    await held[0][1].wait_closed()
    async with asyncio.timeout(10):
        while True:  # the server may hear of the end a moment later
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            answer = await reader.read(12)
            writer.close()
            if answer == b"HTTP/1.1 200":
                break
    for _, other in held[1:]:
        other.close()
