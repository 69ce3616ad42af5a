"""Memory that request bodies may take at a time."""

from __future__ import annotations

from shared.byte_budget import ByteBudget

FREE_BYTES = 256 * 1024
"""Bodies up to this size are not counted, in bytes: there are as many as there are connections, and they are small."""

WAIT_S = 5.0
"""How long a request waits for its part of the budget before it is refused, in seconds."""


class BodyBudget(ByteBudget):
    """The gateway's budget for bodies."""

    def __init__(self, total_bytes: int, *, wait_s: float = WAIT_S) -> None:
        super().__init__(
            total_bytes,
            free_bytes=FREE_BYTES,
            wait_s=wait_s,
            refusal="Too many large request bodies are being read at once; try again shortly. The request had no "
            "effect.",
        )
