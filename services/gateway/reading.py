"""Reads request bodies with a bound: refused by their announced length, or as soon as they go over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from shared.errors import Fault, Invalid, TooLarge, UnsupportedMediaType

BODY_PATIENCE_S = 20.0
"""How long a JSON body may take to arrive, in seconds."""


SMALL_CHUNKS, SMALL_CHUNK_BYTES = 10_000, 64
"""A body of more chunks (RFC 9112, section 7.1) than this, which have fewer bytes on average, is refused: each costs as
much processor time as a thousand bytes."""


def check_length(request: web.Request, limit: int) -> None:
    """Raise TooLarge when the announced length is over `limit` bytes."""
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)


def check_encoding(request: web.Request) -> None:
    """Raise UnsupportedMediaType for a compressed body: nothing is unpacked here, so no bomb can go off."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType("Compressed request bodies are not accepted; send it without Content-Encoding.")


async def whole_body(request: web.Request, *, limit: int) -> bytes:
    """A JSON body; empty when there is none. Raises TooLarge, UnsupportedMediaType, Invalid."""
    if not request.body_exists:
        return b""
    check_length(request, limit)
    parts, size, chunks = [], 0, 0
    try:
        async with asyncio.timeout(BODY_PATIENCE_S):
            async for part, is_last_of_chunk in request.content.iter_chunks():
                size, chunks = size + len(part), chunks + is_last_of_chunk
                if size > limit:
                    raise too_large(limit)
                if chunks > SMALL_CHUNKS and size < chunks * SMALL_CHUNK_BYTES:
                    message = "comes in very small chunks; send it with a Content-Length"
                    raise Invalid(f"The body {message}.", faults=[Fault(path="", message=message)])
                parts.append(part)
    except TimeoutError as error:
        message = f"did not arrive within {BODY_PATIENCE_S:.0f} seconds"
        raise Invalid(f"The body {message}.", faults=[Fault(path="", message=message)]) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Invalid("The body was cut off.", faults=[Fault(path="", message="was cut off")]) from error
    raw = b"".join(parts)
    if raw.strip():
        check_encoding(request)
        _check_media_type(request)
    return raw


async def raw_pieces(request: web.Request, *, silence_s: float) -> AsyncIterator[bytes]:
    """A body of any media type as it comes. Raises UnsupportedMediaType for a compressed one, and Invalid when it is
    cut off or nothing comes for `silence_s` seconds."""
    check_encoding(request)
    while not request.content.at_eof():
        try:
            async with asyncio.timeout(silence_s):
                piece = await request.content.readany()
        except TimeoutError as error:
            raise silent(silence_s) from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise Invalid("The body was cut off.", faults=[Fault(path="", message="was cut off")]) from error
        if piece:
            yield piece


def _check_media_type(request: web.Request) -> None:
    if "Content-Type" not in request.headers:
        return
    kind = request.content_type
    is_json = kind in ("application/json", "text/json") or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json or (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType("Send the body as application/json in UTF-8.")


def silent(seconds: float) -> Invalid:
    """The error for a body of which nothing came for so long."""
    message = f"stopped: nothing came for {seconds:g} seconds"
    return Invalid(f"The body {message}. Send it again.", faults=[Fault(path="", message=message)])


def too_large(limit: int) -> TooLarge:
    """The error for a body over `limit` bytes."""
    return TooLarge(f"The body is larger than the limit of {limit:,} bytes.", extra={"limitBytes": limit})
