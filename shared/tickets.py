"""Signed, expiring rights: a ticket says who may do what until when, and only a holder of the key can make one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import orjson


class BadTicket(Exception):
    """The ticket is forged, malformed or expired; the message says which."""


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(claims: dict[str, Any], *, key: str, purpose: str, life_s: float) -> str:
    """A ticket for `claims`, good for `life_s` seconds and for `purpose` only (HMAC-SHA-256, RFC 2104)."""
    payload = orjson.dumps({**claims, "exp": int(time.time() + life_s)})
    return f"{_encode(payload)}.{_encode(_signature(payload, key, purpose))}"


def verify(ticket: str, *, key: str, purpose: str) -> dict[str, Any]:
    """The claims of a ticket; raises BadTicket when it is not ours, not for `purpose`, or over."""
    payload_text, dot, signature_text = ticket.partition(".")
    try:
        payload, signature = _decode(payload_text), _decode(signature_text)
    except ValueError as error:
        raise BadTicket("malformed") from error
    if not dot or not hmac.compare_digest(signature, _signature(payload, key, purpose)):
        raise BadTicket("wrong signature")
    claims: dict[str, Any] = orjson.loads(payload)
    if claims.pop("exp") < time.time():
        raise BadTicket("expired")
    return claims


def _signature(payload: bytes, key: str, purpose: str) -> bytes:
    return hmac.new(key.encode(), purpose.encode() + b"\0" + payload, hashlib.sha256).digest()
