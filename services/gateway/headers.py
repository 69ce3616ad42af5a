"""Headers that calls honour, read and checked: what is wrong with one is a fault with the header's name as its path."""

from __future__ import annotations

from aiohttp import web

from shared.errors import Fault, Invalid

LONGEST_CHANGE_MESSAGE = 2_000
"""Characters of an X-Change-Message at most."""

LONGEST_IDEMPOTENCY_KEY = 255
"""Characters of an Idempotency-Key at most."""


def idempotency_key(request: web.Request) -> str | None:
    """The Idempotency-Key, if there is one. Raises Invalid."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (key.isascii() and key.isprintable() and 0 < len(key) <= LONGEST_IDEMPOTENCY_KEY):
        raise _refusal("Idempotency-Key", f"must be 1 to {LONGEST_IDEMPOTENCY_KEY} printable ASCII characters")
    return key


def if_match(request: web.Request) -> str | None:
    """The entity tags in If-Match, or `*`; None without the header. Raises Invalid."""
    header = request.headers.get("If-Match")
    return None if header is None else entity_tags(header)


def entity_tags(text: str) -> str:
    """The bare values of one entity tag or a list of them, quoted or not, with commas between. Raises Invalid."""
    tags = [tag.strip().removeprefix("W/").removeprefix('"').removesuffix('"') for tag in text.split(",")]
    if not all(tag.isascii() and tag.isprintable() and tag and '"' not in tag for tag in tags):
        raise _refusal("If-Match", "must be an entity tag, or several with commas between")
    return ", ".join(tags)


def change_message(request: web.Request) -> str | None:
    """Why a change is made, from X-Change-Message; headers are bytes, and these are read as UTF-8. Raises Invalid."""
    given = request.headers.get("X-Change-Message")
    if given is None:
        return None
    text = given.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    if len(text) > LONGEST_CHANGE_MESSAGE:
        raise _refusal("X-Change-Message", f"must be at most {LONGEST_CHANGE_MESSAGE} characters")
    return text or None


def _refusal(name: str, message: str) -> Invalid:
    return Invalid(f"{name} {message}.", faults=[Fault(path=name, message=message)])
