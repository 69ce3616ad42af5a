"""Signatures of commands: a service carries out only what another part of Atelier has sent.

Whoever may publish to the broker could otherwise send a command with any tenant, project and role in it. Subscribers
have accounts there; the key is the services' own (`ATELIER_INTERNAL_SECRET`).
"""

from __future__ import annotations

import hashlib
import hmac

HEADER = "x-atelier-signature"
"""Message header that holds the signature."""

_PURPOSE = b"command\0"


def sign(body: bytes, *, key: str) -> str:
    """Return the signature of a message's body: HMAC-SHA-256 (RFC 2104), in hexadecimal."""
    return hmac.new(key.encode(), _PURPOSE + body, hashlib.sha256).hexdigest()


def is_ours(signature: object, body: bytes, *, key: str) -> bool:
    """Return whether `signature` is that of `body`."""
    return isinstance(signature, str) and hmac.compare_digest(signature.encode(), sign(body, key=key).encode())
