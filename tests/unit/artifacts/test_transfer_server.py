"""The internal HTTP address: a failure in the middle of an answer cuts the connection, and is no second answer."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.artifacts.transfer_server import TransferServer
from shared import ops
from shared.errors import AtelierError, Unavailable


@pytest.mark.parametrize("error", [Unavailable("The store went away."), ValueError("a fault of ours")])
async def test_a_failure_after_the_first_byte_breaks_the_answer_off(error: AtelierError | ValueError) -> None:
    async def serve(_app: Any, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"the first rows\n")
        raise error

    server: Any = TransferServer.__new__(TransferServer)
    server._app = None
    app = web.Application()
    app.on_response_prepare.append(ops.note_begun)
    app.router.add_get("/table", server._route(serve))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/table")
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_failure_before_it_is_told_in_words() -> None:
    async def serve(_app: Any, _request: web.Request) -> web.StreamResponse:
        raise Unavailable("The store is away.")

    server: Any = TransferServer.__new__(TransferServer)
    server._app = None
    app = web.Application()
    app.on_response_prepare.append(ops.note_begun)
    app.router.add_get("/table", server._route(serve))
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/table")
        assert answer.status == 503
        assert (await answer.json())["detail"] == "The store is away."
