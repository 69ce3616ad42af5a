"""The body of an upload as it comes in: pauses are told, and silence has an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import StreamReader

from services.artifacts.formats.refusal import FILE_FIELD
from shared.errors import Fault, Invalid

PAUSE_S = 0.05
"""A sender who sends nothing for so long pauses, in seconds: what has come by then is no longer gathered."""

LATER_S = 5.0
"""How much longer the gateway's sender may be silent than a client of the gateway, in seconds: it tells the client."""


async def pieces_of(body: StreamReader, *, silence_s: float) -> AsyncIterator[bytes]:
    """The bytes as they come; an empty piece when the sender pauses. Raises Invalid when nothing comes for so long."""
    patience = PAUSE_S
    while not body.at_eof():
        try:
            async with asyncio.timeout(patience):
                piece = await body.readany()
        except TimeoutError as error:
            if patience != PAUSE_S:
                raise _silent(silence_s) from error
            patience = silence_s + LATER_S
            yield b""
        else:
            patience = PAUSE_S
            yield piece


def _silent(seconds: float) -> Invalid:
    sentence = f"The upload stopped: nothing came for {seconds:g} seconds. Send it again."
    return Invalid(sentence, faults=[Fault(path=FILE_FIELD, message=sentence)])
