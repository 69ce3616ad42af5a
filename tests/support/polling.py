"""Waiting for something to become so, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

WITHIN_S = 30.0
"""Long enough for a busy machine: who waits longer waits for ever."""

EVERY_S = 0.02


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = WITHIN_S, what: str = "what is waited for"
) -> None:
    """Ask until the answer is true; the condition may be asynchronous. Fails when the time is over."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        answer = condition()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {within_s} s"
        await asyncio.sleep(EVERY_S)
