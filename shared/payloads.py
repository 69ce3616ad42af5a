"""The claim check: a body over the bus's limit goes to the artifacts service, and the message carries its reference."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Protocol
from uuid import UUID, uuid4

import aiohttp
import structlog

from shared import tickets
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

BUS_BODY_LIMIT = 1_000_000
"""No message body is larger, in bytes (DESIGN.md decision 3: 1 MiB with room for the envelope)."""

TICKET_PURPOSE = "payload"
"""What the tickets of this module are good for."""

REPLY_PURPOSE = "reply"
"""What the tickets of kept replies are good for."""

FOLDERS = {TICKET_PURPOSE: "payloads", REPLY_PURPOSE: "replies"}
"""Where they are at artifacts."""

NOBODY = UUID(int=0)
"""In the reference of a reply that shows no notebook."""

TICKET_LIFE_S = 60.0
"""A payload is fetched right after its message arrives, in seconds."""

TRANSFER_TIMEOUT_S = 20.0
"""The longest a payload may take to travel, in seconds."""

CLOSE_PATIENCE_S = 2.0
"""How long the end of a process waits for removals in hand, in seconds; the sweep does what is left."""

ATTEMPTS = 2
"""A kept connection may have died with a restarted artifacts process; putting and getting can safely be repeated."""


class PayloadStore(Protocol):
    """Where large bodies wait for the reader of their message."""

    async def put(self, data: bytes) -> str:
        """Keep `data` until it is dropped, or for some minutes; returns a reference. Raises Unavailable."""

    async def get(self, reference: str) -> bytes:
        """The bytes behind a reference. Raises Unavailable."""

    def drop(self, reference: str) -> None:
        """Nobody needs it any more: remove it soon, and if that cannot be, with those that nobody dropped."""


class HttpPayloadStore:
    """Payloads kept by the artifacts service, over internal HTTP with signed tickets."""

    def __init__(self, base_url: str, *, key: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._session: aiohttp.ClientSession | None = None
        self._dropping: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the HTTP session."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRANSFER_TIMEOUT_S))

    async def close(self) -> None:
        """Finish what is being removed, and close the HTTP session."""
        if self._dropping:
            await asyncio.wait(self._dropping, timeout=CLOSE_PATIENCE_S)
        if self._session is not None:
            await self._session.close()

    async def put(self, data: bytes) -> str:
        """See PayloadStore."""
        reference = str(uuid4())
        await self._call("PUT", reference, data)
        return reference

    async def get(self, reference: str) -> bytes:
        """See PayloadStore."""
        return await self._call("GET", reference, None)

    def drop(self, reference: str) -> None:
        """See PayloadStore."""
        task = asyncio.create_task(self._drop(reference))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def keep(self, data: bytes, *, owner: UUID | None, subject: UUID | None) -> str:
        """See shared.command_log.KeptReplies."""
        reference = f"{owner or NOBODY}/{subject or NOBODY}/{uuid4()}"
        await self._call("PUT", reference, data, purpose=REPLY_PURPOSE)
        return reference

    async def recall(self, reference: str) -> bytes:
        """See shared.command_log.KeptReplies."""
        return await self._call("GET", reference, None, purpose=REPLY_PURPOSE)

    async def _drop(self, reference: str) -> None:
        try:
            await self._call("DELETE", reference, None)
        except Unavailable as error:
            log.info("a message's body is left to the sweep", reason=error.detail)

    async def _call(self, method: str, reference: str, data: bytes | None, *, purpose: str = TICKET_PURPOSE) -> bytes:
        if self._session is None:
            raise Unavailable("The artifacts service is not available; try again shortly.")
        ticket = tickets.sign({"payload": reference}, key=self._key, purpose=purpose, life_s=TICKET_LIFE_S)
        url = f"{self._base_url}/internal/{FOLDERS[purpose]}/{reference}"
        for attempt in range(ATTEMPTS):
            try:
                async with self._session.request(
                    method,
                    url,
                    data=BytesIO(data) if data is not None else None,  # aiohttp sends a file object in pieces
                    headers={"Authorization": f"Ticket {ticket}"},
                ) as response:
                    if response.status not in (200, 201, 204):
                        raise Unavailable("The artifacts service is not available; try again shortly.")
                    return await response.read()
            except (TimeoutError, aiohttp.ClientError) as error:
                if attempt == ATTEMPTS - 1 or isinstance(error, TimeoutError):
                    raise Unavailable("The artifacts service is not available; try again shortly.") from error
        raise Unavailable("The artifacts service is not available; try again shortly.")
