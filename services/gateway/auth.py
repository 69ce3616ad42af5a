"""Checks the credential of every call: API keys through a short memory of look-ups, everything else as a JWT."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.gateway.model import Principal
from services.gateway.store import KEY_PREFIX, key_hash
from shared.errors import Unauthorized, Unavailable

log = structlog.get_logger(__name__)

FRESH_S = 5.0
"""How long a look-up is believed without asking again, in seconds: a revoked key works that much longer."""

STALE_S = 60.0
"""How long a look-up still serves while the database is away, in seconds."""

UNKNOWN_S = 2.0
"""How long an unknown key is refused without asking again, in seconds: a new key works that much later at most."""

REMEMBERED = 10_000
"""Keys remembered at most; the longest unused goes first."""

_UNKNOWN_KEY = "The API key is not known, or was revoked."

LONGEST_CREDENTIAL = 8_000
"""No credential is longer, in characters."""


class Keys(Protocol):
    """Where API keys are looked up (`store.KeyStore`; called by Authenticator)."""

    async def find(self, digest: bytes) -> Principal | None:
        """Who the key with this hash belongs to. Raises Unavailable."""


class Tokens(Protocol):
    """What checks a JWT (`tokens.TokenVerifier`; called by Authenticator)."""

    async def verify(self, token: str) -> Principal:
        """Who the token speaks for. Raises Unauthorized, Unavailable."""


@dataclass(frozen=True)
class _Memory:
    principal: Principal
    learnt_at: float


class Authenticator:
    """Turns an Authorization header into a Principal."""

    def __init__(self, keys: Keys, tokens: Tokens, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._tokens = tokens
        self._clock = clock
        self._known: OrderedDict[bytes, _Memory] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}

    def was_seen(self, header: str | None) -> bool:
        """Return whether the header holds an API key that was valid when it was looked up last."""
        _, _, credential = (header or "").strip().partition(" ")
        credential = credential.strip()
        if len(credential) > LONGEST_CREDENTIAL or not credential.isascii():
            return False
        return key_hash(credential) in self._known

    async def principal(self, header: str | None) -> Principal:
        """Who calls. Raises Unauthorized, or Unavailable when that cannot be found out now."""
        scheme, _, credential = (header or "").strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise Unauthorized("Send the header 'Authorization: Bearer <API key or JWT>'.")
        if len(credential) > LONGEST_CREDENTIAL or not credential.isascii():
            raise Unauthorized("The credential is not valid.")
        if credential.startswith(KEY_PREFIX):
            return await self._of_key(key_hash(credential))
        return await self._tokens.verify(credential)

    async def _of_key(self, digest: bytes) -> Principal:
        memory = self._known.get(digest)
        if memory is not None and self._clock() - memory.learnt_at < FRESH_S:
            self._known.move_to_end(digest)
            return memory.principal
        if self._clock() - self._unknown.get(digest, float("-inf")) < UNKNOWN_S:
            raise Unauthorized(_UNKNOWN_KEY)
        try:
            principal = await self._once(digest, self._keys.find)
        except Unavailable:
            if memory is not None and self._clock() - memory.learnt_at < STALE_S:
                return memory.principal
            raise
        if principal is None:
            self._known.pop(digest, None)
            self._unknown[digest] = self._clock()
            self._unknown.move_to_end(digest)
            while len(self._unknown) > REMEMBERED:
                self._unknown.popitem(last=False)
            raise Unauthorized(_UNKNOWN_KEY)
        self._known[digest] = _Memory(principal, self._clock())
        self._known.move_to_end(digest)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return principal

    async def _once(self, digest: bytes, find: Callable[[bytes], Awaitable[Principal | None]]) -> Principal | None:
        """Look a key up once, however many calls wait for it."""
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.ensure_future(find(digest))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)
